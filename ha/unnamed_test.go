package ha

import (
	"fmt"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// loses has a rig's bucket lose the first backup that is made from now on: it is put
// back to before that, and shows the head that its active knows. The head can be
// written again once the bucket answers.
type loses struct {
	made     int
	answers  bool // the bucket takes writes of the head
	lost     string
	named    bool // something named the lost backup
	lookedAt int
}

func (l *loses) script(_ *instance, e Effect) (Done, bool) {
	switch e := e.(type) {
	case MakeBackup:
		return Done{ID: e.ID, Changed: true, Ref: l.make(e.Epoch, e.Sequence)}, true
	case MakeSalvage:
		return Done{ID: e.ID, Ref: l.make(e.Epoch, e.Sequence)}, true
	case FindBackup:
		l.lookedAt++
		if e.Ref.ID == l.lost {
			return Done{ID: e.ID, Outcome: Missing}, true
		}
	case Write:
		h, isHead := e.Object.(*Head)
		s, isRecord := e.Object.(*SalvageRecord)
		if (isHead || isRecord) && !l.answers {
			return Done{ID: e.ID, Outcome: Failed}, true
		}
		l.named = l.named || isHead && h.Newest != nil && h.Newest.ID == l.lost || isRecord && s.Backup != nil && s.Backup.ID == l.lost
	}
	return Done{}, false
}

func (l *loses) make(epoch, sequence uint64) *backup.Ref {
	l.made++
	id := fmt.Sprint("made-", l.made)
	if l.lost == "" {
		l.lost = id
	}
	return &backup.Ref{ID: id, Epoch: epoch, Sequence: sequence, Digest: id}
}

func (l *loses) check(t *testing.T) {
	t.Helper()
	switch {
	case l.named:
		t.Error("a backup was named that the bucket has lost")
	case l.lookedAt == 0 || l.made < 2:
		t.Errorf("looked %d times, made %d backups", l.lookedAt, l.made)
	}
}

func TestABackupThatTheBucketHasLostIsMadeAgain(t *testing.T) {
	r := newRig(t)
	a := r.active()
	r.pass(20*time.Second, a)
	l := &loses{}
	r.fail = l.script
	a.step(RequestBackup{Request: "b", Trigger: backup.Requested})
	r.pass(30*time.Second, a)
	l.answers = true
	r.pass(30*time.Second, a)
	l.check(t)
	if h := r.head(); h.Newest.ID == l.lost || !a.done["b"] || a.answers["b"] != nil {
		t.Errorf("the newest is %s, answered %v: %v", h.Newest.ID, a.done["b"], a.answers["b"])
	}
}

func TestAFinalBackupThatTheBucketHasLostIsMadeAgain(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	l := &loses{answers: true}
	var crashed *Journal
	r.fail = func(n *instance, e Effect) (Done, bool) {
		if s, ok := e.(Save); ok && crashed == nil && s.Journal.Handover != nil && s.Journal.Handover.Phase == HandoverSent {
			crashed, l.answers = &s.Journal, false
		}
		return l.script(n, e)
	}
	b.step(Promote{Request: "p"})
	for crashed == nil && r.now < time.Minute {
		r.pass(time.Second, a, b)
	}
	a = r.start("a", *crashed) // and the bucket is put back
	r.fail, l.answers = l.script, true
	r.pass(30*time.Second, a, b)
	l.check(t)
	if h := r.head(); h.Epoch != 2 || h.StartedFrom.ID == l.lost || !b.app || a.app {
		t.Errorf("epoch %d from %v; applications %v and %v, the answer %v", h.Epoch, h.StartedFrom, a.app, b.app, b.answers["p"])
	}
}

func TestASalvageThatTheBucketHasLostIsMadeAgain(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	journal := a.journal
	r.failover(b, Promote{})
	l := &loses{}
	r.fail = func(n *instance, e Effect) (Done, bool) {
		if n.name == "b" {
			return Done{}, false
		}
		return l.script(n, e)
	}
	a = r.start("a", journal)
	r.pass(30*time.Second, a, b)
	l.answers = true
	r.pass(time.Minute, a, b)
	l.check(t)
	if got := r.salvages(); len(got) != 1 || got[0].ID == l.lost || a.m.Status().Demotion != nil {
		t.Errorf("listed are %v, %+v", got, a.m.Status().Demotion)
	}
}
