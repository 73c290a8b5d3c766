package ha

import (
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// Role is what an instance is in its cluster.
type Role string

// Roles.
const (
	RoleActive  Role = "active"
	RoleStandby Role = "standby"
)

// Position is one version of the head.
type Position struct {
	Epoch uint64 `json:"epoch"`
	Rev   uint64 `json:"rev"`
	Nonce string `json:"nonce"`
}

// before orders positions of one history.
func (p Position) before(q Position) bool {
	return p.Epoch < q.Epoch || p.Epoch == q.Epoch && p.Rev < q.Rev
}

// Journal is all that an instance must still know after a crash. It is written
// (and synced) before each step that depends on it.
type Journal struct {
	Format   int    `json:"format"`
	Cluster  string `json:"cluster"`
	Instance string `json:"instance"`
	Role     Role   `json:"role"`
	Epoch    uint64 `json:"epoch"` // in which this instance is or was last active

	// Incarnations are those that this data folder has used: the last one that
	// the bucket is known to have, and the present process's.
	Incarnations []string `json:"incarnations,omitempty"`
	// Former are earlier ones, the last last: a bucket that is put back shows the
	// record of one of them.
	Former []string `json:"former_incarnations,omitempty"`

	Seen     Position `json:"seen"`                // the highest version of the head ever seen
	SeenHead *Head    `json:"seen_head,omitempty"` // that version
	Last     Position `json:"last"`                // the last head known to be this instance's own
	Pending  *Pending `json:"pending,omitempty"`   // a write of the head whose outcome is not known

	// Renewed is when the last head known to be this instance's own was sent.
	Renewed *Renewal `json:"renewed,omitempty"`

	// Fencing is what an active's heads say: that of the last one known to be its
	// own and, while a change of it is pending, that one's too.
	Fencing []Fencing `json:"fencing,omitempty"`

	Handover  *HandoverJournal `json:"handover,omitempty"`
	Floor     uint64           `json:"floor,omitempty"` // rev of the head at which the last handover ended
	Promotion *Promotion       `json:"promotion,omitempty"`
	Demotion  *Demotion        `json:"demotion,omitempty"`

	// Holder is whose application an heir's own waits for.
	Holder *Holder `json:"holder,omitempty"`

	// Doubt says why this data folder may be a copy, or put back; "": nothing says
	// so. It lasts until an operator accepts the data folder, or promotes the instance.
	Doubt string `json:"doubt,omitempty"`
	// Unkept says what this host has that was there before it joined, and is in no
	// backup that is known; "": nothing. A promotion replaces it.
	Unkept string `json:"unkept,omitempty"`
	// Missed is the first of the epochs before the head's of which it is not known
	// who was active in them; 0: there is none.
	Missed uint64 `json:"missed,omitempty"`

	Marked uint64 `json:"marked,omitempty"` // the newest epoch whose marker is known to be there
	First  bool   `json:"first,omitempty"`  // the epoch's first backup is still to be made
	Paused *Pause `json:"paused,omitempty"`
}

// Pending is a write of the head that was sent and not yet resolved.
type Pending struct {
	Token   string     `json:"token"`             // the version that it replaces
	Nonces  []string   `json:"nonces"`            // of the attempts, the last ones at least
	Earlier []Attempts `json:"earlier,omitempty"` // those before, which are too many to be named
	Commit  bool       `json:"commit,omitempty"`  // it is a promotion's commit
}

// Renewal is a moment on a host's boot-time clock, which means nothing on another
// host, nor after a reboot.
type Renewal struct {
	Boot string   `json:"boot"` // Params.Boot
	At   Duration `json:"at"`
}

// maxFormer is how many former incarnations a journal remembers.
const maxFormer = 64

// Settle leaves one incarnation, which the bucket is known to have, and remembers
// the others.
func (j *Journal) Settle(incarnation string) {
	for _, i := range j.Incarnations {
		if i != incarnation {
			j.Former = append(j.Former, i)
		}
	}
	j.Former = slices.Clone(j.Former[max(0, len(j.Former)-maxFormer):])
	j.Incarnations = []string{incarnation}
}

// sayFencing notes that a head which says this is about to be sent.
func (j *Journal) sayFencing(now, next Fencing) {
	if len(j.Fencing) == 0 {
		j.Fencing = []Fencing{now}
	}
	if !slices.Contains(j.Fencing, next) {
		j.Fencing = append(j.Fencing, next)
	}
}

// HandoverPhase is how far the active has come in handing over.
type HandoverPhase string

// Phases of a handover, in the active's journal.
const (
	HandoverStopping HandoverPhase = "stopping" // the application is being stopped
	HandoverFinal    HandoverPhase = "final"    // the final backup is being made
	HandoverClosing  HandoverPhase = "closing"  // the streams are being closed
	// HandoverSent is journalled before the head that hands over is sent: the
	// application stays stopped until a head that takes back is confirmed.
	HandoverSent HandoverPhase = "sent"
	// HandoverReturning takes back.
	HandoverReturning HandoverPhase = "returning"
	// HandoverDeclined tells the candidate why not.
	HandoverDeclined HandoverPhase = "declined"
)

// HandoverJournal is a handover on the active's side.
type HandoverJournal struct {
	Lease  string        `json:"lease"`
	To     Peer          `json:"to"`
	Phase  HandoverPhase `json:"phase"`
	Final  *backup.Ref   `json:"final,omitempty"`
	Reason string        `json:"reason,omitempty"`
	// Ends are the streams that were closed, by source; nil: none was yet.
	Ends map[string]Stream `json:"ends,omitempty"`
	// Word is on whose word the application is stopped, where nothing here can stop
	// it; Unstopped says that it is so, once the final backup is being made.
	Word      string `json:"word,omitempty"`
	Unstopped bool   `json:"unstopped,omitempty"`
	// Unsure says that the application was stopped before its start had ended, as far as
	// is known: what that start has left may write after the final backup.
	Unsure bool `json:"unsure,omitempty"`
}

// isReady reports whether all is done that comes before the head is handed over.
func (hj *HandoverJournal) isReady() bool {
	return hj != nil && hj.Final != nil && (hj.Phase != HandoverClosing || hj.Ends != nil)
}

// Phase is how far a promotion has come.
type Phase string

// Phases of a promotion. Up to PhaseSwap, and in PhaseCommit while nothing is
// pending, it can be rolled back; from a committed head on it is finished.
const (
	PhaseLease    Phase = "lease"
	PhasePin      Phase = "pin"
	PhaseHandover Phase = "handover"
	PhaseEnd      Phase = "end" // every stream that the head names is ended
	PhaseRestore  Phase = "restore"
	PhaseSwap     Phase = "swap"
	PhaseCommit   Phase = "commit"
	PhaseFinish   Phase = "finish"
	PhaseRollback Phase = "rollback"
)

// Promotion is a promotion under way on this instance.
type Promotion struct {
	ID     string      `json:"id"` // also the lease's
	Mode   Mode        `json:"mode"`
	Chosen *backup.Ref `json:"chosen,omitempty"` // nil: the newest
	By     string      `json:"by,omitempty"`
	Reason string      `json:"reason,omitempty"`
	Phase  Phase       `json:"phase"`

	// Moment is what the sources are brought to whose log has the time of each change; nil:
	// the backup, and what comes after it.
	Moment *time.Time `json:"moment,omitempty"`

	// AllowFailed restores the backup even if its rehearsal failed, whatever the
	// probe says.
	AllowFailed bool `json:"allow_failed_rehearsal,omitempty"`

	// WithoutLog restores the backup as it is, without the logs that come after it.
	WithoutLog bool `json:"without_log,omitempty"`

	// HostIsOff is the operator's word that the old active's host is off, so that
	// its application need not be waited for.
	HostIsOff bool `json:"host_is_off,omitempty"`

	// AppIsStopped is the operator's word that the old active's application is
	// stopped, where nothing but people can stop it.
	AppIsStopped bool `json:"application_is_stopped,omitempty"`

	Epoch  uint64      `json:"epoch"`            // pinned: the epoch that ends
	Rev    uint64      `json:"rev,omitempty"`    // of the head when it was pinned
	Newest *backup.Ref `json:"newest,omitempty"` // pinned: the newest backup when the operator was asked
	Backup *backup.Ref `json:"backup,omitempty"` // what is restored
	// Streams are the complete set that the head named when they were ended, Ends the
	// same with their end parts: pinned, both.
	Streams  map[string]Stream `json:"streams,omitempty"`
	Ends     map[string]Stream `json:"ends,omitempty"`
	Old      Peer              `json:"old"`
	OldAlive bool              `json:"old_alive,omitempty"`
	// AtRest says that the version that the commit replaces is one under which no
	// application runs.
	AtRest bool `json:"at_rest,omitempty"`
	// Fencing is what that version says, by which the old active goes.
	Fencing *Fencing `json:"fencing,omitempty"`
	// OldUnstopped says that the old active has acknowledged, and that nothing there
	// can stop its application.
	OldUnstopped bool `json:"old_unstopped,omitempty"`

	Swapped bool `json:"swapped,omitempty"` // its swap has begun
	Acked   bool `json:"acked,omitempty"`   // no more waiting for the old active
	Started bool `json:"started,omitempty"` // the application was started
	Undone  bool `json:"undone,omitempty"`  // rolled back; only the lease is left

	Downtime Duration `json:"downtime,omitempty"` // of the application in a switchover, once it runs again; 0: not known

	Error string `json:"error,omitempty"` // why it is rolled back
	Steps []Step `json:"steps,omitempty"`
}

// Step is one finished step of a promotion, for people.
type Step struct {
	Name string    `json:"name"`
	Time time.Time `json:"time"` // when it ended
	Took Duration  `json:"took"` // on the instance's own clock
	Note string    `json:"note,omitempty"`
}

// Demotion is what an instance still owes after it was superseded.
type Demotion struct {
	Epoch    uint64            `json:"epoch"` // the one that ended
	Acked    bool              `json:"acked,omitempty"`
	Silent   bool              `json:"silent,omitempty"`   // not to be acknowledged: an application of the epoch before this one may still run
	Restored *backup.Ref       `json:"restored,omitempty"` // what the successor restored; nil: not known
	Tip      *backup.Ref       `json:"tip,omitempty"`      // the newest backup of the epoch that ended, where that is another
	Known    bool              `json:"known,omitempty"`    // Restored and Tip have been looked up
	Final    *backup.Ref       `json:"final,omitempty"`    // the final backup of a handover: nothing came after it
	Ends     map[string]Stream `json:"ends,omitempty"`     // up to where the successor has taken the sources' logs in
	Made     bool              `json:"made,omitempty"`     // the salvage backup is made, or not needed
	Salvage  *backup.Ref       `json:"salvage,omitempty"`
	Told     bool              `json:"told,omitempty"` // the bucket lists the salvage backup
	// Unstopped says that nothing here can stop the application, so that it may run on.
	Unstopped bool `json:"unstopped,omitempty"`
	Refused   bool `json:"refused,omitempty"` // of a process that was refused in this epoch, and runs no application
	// Kept is the salvage backup that an earlier process made which was refused:
	// another is made if the state differs from it.
	Kept *backup.Ref `json:"kept,omitempty"`
}

// Pause keeps the schedule from making backups.
type Pause struct {
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since"`
	// Until is when it ends by itself, for people; nil: somebody resumes the
	// schedule. Left is how much of it is left on the instance's own time line,
	// as of this version of the journal.
	Until *time.Time `json:"until,omitempty"`
	Left  Duration   `json:"left,omitempty"`
}

// Knows reports whether a head was written by this instance: whether its nonce
// is the last confirmed one, or one of those whose outcome is not known.
func (j *Journal) Knows(h *Head) bool {
	return h.Nonce == j.Last.Nonce || j.Pending != nil && j.Pending.has(h.Nonce)
}

// clone copies a journal deeply enough that later steps do not change it.
func (j *Journal) clone() Journal {
	c := *j
	c.Incarnations, c.Former = slices.Clone(j.Incarnations), slices.Clone(j.Former)
	if j.Pending != nil {
		p := *j.Pending
		p.Nonces, p.Earlier = slices.Clone(p.Nonces), slices.Clone(p.Earlier)
		c.Pending = &p
	}
	c.Renewed = clone(j.Renewed)
	c.Handover = clone(j.Handover)
	if j.Promotion != nil {
		p := *j.Promotion
		p.Steps = slices.Clone(p.Steps)
		c.Promotion = &p
	}
	c.Demotion = clone(j.Demotion)
	c.Holder = clone(j.Holder)
	c.Paused = clone(j.Paused)
	return c
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
