package runner

import (
	"context"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/restore"
)

// steps are the durable steps of an agent, and what each makes durable. Those
// of a pull and a swap are listed in package restore.
var steps = [][2]string{
	{"journal.start", "the incarnation of this process, before the bucket learns of it"},
	{"journal.seen", "a newer version of the head was seen; nothing else"},
	{"journal.head", "an attempt to write the head"},
	{"journal.commit", "an attempt to commit a promotion"},
	{"journal.settled", "what became of the attempts"},
	{"journal.marked", "the marker of this instance's epoch is there"},
	{"journal.first", "the first backup of the epoch is published"},
	{"journal.paused", "the schedule is paused, or goes on"},

	{"journal.promotion.lease", "a promotion begins"},
	{"journal.promotion.pin", "the lease is held"},
	{"journal.promotion.handover", "the old active is asked to hand over"},
	{"journal.promotion.restore", "which backup is restored"},
	{"journal.promotion.swap", "it is staged"},
	{"journal.promotion.commit", "it is in place"},
	{"journal.promotion.finish", "the commit has happened: this instance is the active"},
	{"journal.promotion.rollback", "the promotion is given up"},
	{"journal.promotion.undone", "everything is put back"},
	{"journal.promotion.acked", "there is no more waiting for the old active"},
	{"journal.promotion.started", "the application was started"},
	{"journal.promotion.ended", "the promotion is over"},

	{"journal.handover.stopping", "a handover begins"},
	{"journal.handover.final", "the final backup is being made, or is made"},
	{"journal.handover.sent", "the head that hands over is about to be sent"},
	{"journal.handover.returning", "the head is about to be taken back"},
	{"journal.handover.declined", "there will be no handover"},
	{"journal.handover.ended", "the handover is over, and this instance still the active"},

	{"journal.demotion.begun", "this instance was superseded"},
	{"journal.demotion.acked", "its application has stopped, and the successor was told"},
	{"journal.demotion.known", "what the successor restored was looked up"},
	{"journal.demotion.made", "the salvage backup is made, or not needed"},
	{"journal.demotion.ended", "this instance is a standby"},

	{"head.claim", "the head names this process"},
	{"head.renew", "a heartbeat"},
	{"head.publish", "a backup exists"},
	{"head.config", "a configuration is in force"},
	{"head.preparing", "a handover was heard of"},
	{"head.handed", "the head is handed over"},
	{"head.declined", "a handover is declined"},
	{"head.returned", "a handover is over, and the head taken back"},
	{"head.commit", "a new epoch has begun"},

	{"lease.take", "the promotion lock is taken"},
	{"lease.renew", "and kept"},
	{"lease.release", "and released"},
	{"marker", "the old active is told"},
	{"ack", "the new active is told that the application has stopped"},
	{"salvage.record", "what was salvaged is told"},

	{"application.start", "the promote hook has run"},
	{"application.stop", "the demote hook has run"},

	{"backup", "packs and manifest of a backup"},
	{"salvage", "packs and manifest of a salvage backup"},
	{"pull", "a backup in the cache"},
	{"rehearse", "the newest cached backup beside the live state of a standby, judged by the probe"},
	{"attest", "what came of it"},
	{"rejoin", "beside the live state of a former active what it has, as far as its successor's log goes on from there"},
	{"unstage", "a backup beside the live state of an instance that does not rehearse dropped"},
	{"stage", "a backup beside the live state, judged by the probe"},
	{"swap", "the staged state in place"},
	{"rollback", "the replaced state in place again"},
	{"discard", "the replaced state set aside"},

	{"put.pack", "a pack in the bucket"},
	{"put.manifest", "a manifest in the bucket"},
	{"put.salvage", "a salvage backup's manifest in the bucket"},
	{"put.record", "this instance's record in the bucket"},
	{"put.config", "a configuration in the bucket"},
}

// StepNames names the durable steps of an agent.
func StepNames() []string {
	var names []string
	for _, s := range steps {
		names = append(names, s[0])
	}
	return append(names, restore.Steps...)
}

// EffectSteps names the steps whose failures are counted (Stats.Failures): those
// that the machine asks for.
func EffectSteps() []string {
	var names []string
	for _, s := range steps {
		if !strings.HasPrefix(s[0], "journal.") && !strings.HasPrefix(s[0], "put.") {
			names = append(names, s[0])
		}
	}
	return names
}

// Steps is told of each durable step: its name with ".before" just before it begins, and
// with ".after" when it has been taken. It may be nil.
type Steps func(point string)

// Do takes a step, and tells of it.
func (s Steps) Do(step string, do func() error) error {
	if s == nil {
		return do()
	}
	s(step + ".before")
	err := do()
	if err == nil {
		s(step + ".after")
	}
	return err
}

// Store tells of the writes to a store that are steps of their own. Control objects
// that the machine writes are told of as effects.
func (s Steps) Store(of blobstore.Store) blobstore.Store {
	if s == nil {
		return of
	}
	return stepStore{of, s}
}

type stepStore struct {
	blobstore.Store
	tell Steps
}

// Put implements blobstore.Store.
func (s stepStore) Put(ctx context.Context, key string, body []byte, cond blobstore.Condition) (blobstore.Attrs, error) {
	prefixes := [][2]string{
		{"packs/", "put.pack"}, {"backups/", "put.manifest"}, {"salvage/", "put.salvage"},
		{ha.InstancesPrefix, "put.record"}, {"config/", "put.config"},
	}
	i := slices.IndexFunc(prefixes, func(p [2]string) bool { return len(key) > len(p[0]) && key[:len(p[0])] == p[0] })
	if i < 0 {
		return s.Store.Put(ctx, key, body, cond)
	}
	s.tell(prefixes[i][1] + ".before")
	attrs, err := s.Store.Put(ctx, key, body, cond)
	if err == nil {
		s.tell(prefixes[i][1] + ".after")
	}
	return attrs, err
}
