package ha

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// TestAHostAndItsCopyBothKeepTheirSalvage: both step down from one epoch, under
// one name.
func TestAHostAndItsCopyBothKeepTheirSalvage(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	journal := a.journal
	r.failover(b, Promote{})
	a, copied := r.start("a", journal), r.start("a", journal)
	r.pass(30*time.Second, a, copied, b)
	got := r.salvages()
	if len(got) != 2 || got[0] == nil || got[1] == nil || got[0].ID == got[1].ID {
		t.Fatalf("listed are %v", got)
	}
	for _, n := range []*instance{a, copied} {
		if _, ok := r.objects[AckKey(2, n.m.p.Self)]; !ok || n.m.Status().Demotion != nil {
			t.Errorf("acknowledged: %v, %+v", ok, n.m.Status().Demotion)
		}
	}
}

// TestARestartDoesNotListASalvageTwice: the record's key is the salvage's.
func TestARestartDoesNotListASalvageTwice(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	r.failover(b, Promote{})
	a = r.start("a", a.journal)
	var told Journal
	for range 30 {
		if a.journal.Demotion != nil && a.journal.Demotion.Made {
			told = a.journal
		}
		r.pass(time.Second, a, b)
	}
	before := len(r.salvages())
	told.Demotion = &Demotion{Epoch: 1, Acked: true, Known: true, Made: true, Salvage: r.salvages()[0]}
	a = r.start("a", told)
	r.pass(30*time.Second, a, b)
	if got := r.salvages(); len(got) != before || a.m.Status().Demotion != nil {
		t.Fatalf("listed are %v, %+v", got, a.m.Status().Demotion)
	}
}

// TestWhatStandsInTheWayOfARecordIsReplaced: somebody without the key can put
// anything where a record is to be.
func TestWhatStandsInTheWayOfARecordIsReplaced(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	r.failover(b, Promote{})
	garbage := map[string]bool{}
	r.fail = func(n *instance, e Effect) (Done, bool) {
		switch e := e.(type) {
		case Write:
			if n.name == "a" && strings.HasPrefix(e.Key, "demote/") && e.Cond.Absent() && r.objects[e.Key] == nil {
				r.put(e.Key, "garbage")
				garbage[e.Key] = true
			}
		case Read:
			if r.objects[e.Key] == "garbage" {
				return Done{ID: e.ID, Outcome: Unverified, Token: r.tokens[e.Key]}, true
			}
		}
		return Done{}, false
	}
	a = r.start("a", a.journal)
	r.pass(30*time.Second, a, b)
	if len(garbage) != 2 {
		t.Fatalf("in the way: %v", garbage)
	}
	for key := range garbage {
		if r.objects[key] == "garbage" {
			t.Errorf("%s is still garbage", key)
		}
	}
	if got := r.salvages(); len(got) != 1 || a.m.Status().Demotion != nil {
		t.Errorf("listed are %v", got)
	}
}

// TestARefusedActivesSalvageIsListed: it may be joined afresh, which forgets all
// that its journal knows.
func TestARefusedActivesSalvageIsListed(t *testing.T) {
	r := newRig(t)
	a := r.active()
	journal := a.journal
	r.pass(20*time.Second, a)
	r.pass(20*time.Second, r.start("a", journal))
	if got := r.salvages(); len(got) != 1 || got[0] == nil {
		t.Fatalf("listed are %v", got)
	}
}

// TestASalvageIsListedBeforeAPromotionGoesOn: what it replaces is in no other
// place.
func TestASalvageIsListedBeforeAPromotionGoesOn(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	r.failover(b, Promote{})
	away := true
	r.fail = func(n *instance, e Effect) (Done, bool) {
		w, ok := e.(Write)
		return Done{ID: w.ID, Outcome: Unknown}, ok && w.Kind == KindSalvage && away
	}
	a = r.start("a", a.journal)
	r.pass(5*time.Second, a, b)
	a.step(Promote{Request: "back", Mode: ModeFailover})
	away = false
	r.pass(2*time.Minute, a, b)
	if got := r.salvages(); len(got) == 0 || got[0] == nil || a.answers["back"] != nil && !IsRefusal(a.answers["back"]) {
		t.Fatalf("listed are %v, answer %v", got, a.answers["back"])
	}
}

// TestWhatIsThereAlreadyIsLookedAt: a record that another has signed, where this
// instance's own is to be, is no earlier attempt unless it says the same.
func TestWhatIsThereAlreadyIsLookedAt(t *testing.T) {
	for name, same := range map[string]bool{"the same": true, "something else": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			a, b := r.active(), r.start("b", Journal{})
			r.pass(20*time.Second, a, b)
			r.failover(b, Promote{})
			var there *SalvageRecord
			r.fail = func(n *instance, e Effect) (Done, bool) {
				w, ok := e.(Write)
				if rec, is := w.Object.(*SalvageRecord); ok && is && there == nil {
					other := *rec
					if there = &other; !same {
						there.Backup = &backup.Ref{ID: "another", Digest: "another"}
					}
					r.put(w.Key, there)
				}
				return Done{}, false
			}
			a = r.start("a", a.journal)
			r.pass(30*time.Second, a, b)
			told := slices.ContainsFunc(a.seen, func(e Effect) bool {
				report, ok := e.(Report)
				return ok && report.Level == Alarm && strings.Contains(report.Text, "says something else")
			})
			if told == same || a.m.Status().Demotion != nil {
				t.Errorf("told %v, %+v", told, a.m.Status().Demotion)
			}
			if got := r.salvages(); len(got) != 1 || got[0] != there.Backup {
				t.Errorf("listed are %v", got)
			}
		})
	}
}

// TestARefusedProcessAcknowledgesNothing: whether the original's application has
// stopped it does not know.
func TestARefusedProcessAcknowledgesNothing(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	journal := a.journal
	r.pass(20*time.Second, a, b)
	copied := r.start("a", journal)
	r.pass(20*time.Second, a, b, copied)
	if copied.m.Status().Refused == "" {
		t.Fatalf("%+v", copied.m.Status())
	}
	r.failover(b, Promote{})
	r.pass(30*time.Second, copied, b)
	if s := copied.m.Status(); s.Refused != "" || s.Demotion != nil || r.head().Epoch != 2 {
		t.Fatalf("%+v", s)
	}
	for key, object := range r.objects {
		if ack, ok := object.(*Ack); ok {
			t.Errorf("%s: acknowledged by %s", key, ack.Instance.Incarnation)
		}
	}
	if got := r.salvages(); len(got) != 1 {
		t.Errorf("listed are %v", got)
	}
}
