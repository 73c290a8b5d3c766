package ha

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// cutOff has an instance's requests to the store fail.
func cutOff(who *instance) func(*instance, Effect) (Done, bool) {
	return func(n *instance, e Effect) (Done, bool) {
		if n != who {
			return Done{}, false
		}
		switch e := e.(type) {
		case Read:
			return Done{ID: e.ID, Outcome: Unknown, Err: errors.New("cut off")}, true
		case Write:
			return Done{ID: e.ID, Outcome: Unknown, Err: errors.New("cut off")}, true
		}
		return Done{}, false
	}
}

func TestOnlyTheOldActiveItselfAcknowledges(t *testing.T) {
	for i := range 4 {
		copied, old := i%2 == 1, i > 1
		t.Run(fmt.Sprint("copy=", copied, ",old name=", old), func(t *testing.T) {
			r := newRig(t)
			r.head().Fencing.Mode = Strict
			a, b := r.active(), r.start("b", Journal{})
			r.pass(20*time.Second, a, b)
			key, by := AckKey(2, r.head().Active), r.head().Active
			if old {
				key = OldAckKey(2, "a")
			}
			if copied {
				by.Incarnation = "of a copy"
			}
			r.put(key, &Ack{Epoch: 2, Instance: by})
			r.fail = cutOff(a)
			b.step(Promote{Request: "p", Mode: ModeFailover})
			r.pass(5*time.Second, b)
			if r.head().Epoch != 2 || b.app == copied {
				t.Fatalf("epoch %d, the successor's application runs: %v", r.head().Epoch, b.app)
			}
			r.pass(90*time.Second, b)
			if !b.app {
				t.Fatal("not started when the old active has stopped in any case")
			}
		})
	}
}

func TestOneThatStillWaitsForItsPredecessorAcknowledgesNothing(t *testing.T) {
	r := newRig(t)
	r.head().Fencing.Mode = Strict
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	r.fail = cutOff(a)
	b.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(5*time.Second, b)
	if r.head().Epoch != 2 || b.app {
		t.Fatalf("epoch %d, app %v", r.head().Epoch, b.app)
	}
	next := *r.head()
	next.Epoch, next.Rev, next.Nonce, next.Active = 3, next.Rev+1, "n3", Peer{Name: "c", Incarnation: "c1"}
	r.put(HeadKey, &next)
	r.pass(30*time.Second, b)
	if _, ok := r.objects[AckKey(3, b.m.p.Self)]; ok || b.m.Status().Demotion != nil {
		t.Fatalf("acknowledged: %v, %+v", ok, b.m.Status().Demotion)
	}
}

func TestCommitThatLandedBeforeALaterEpochIsToldAsDone(t *testing.T) {
	r := newRig(t)
	a, b, c := r.active(), r.start("b", Journal{}), r.start("c", Journal{})
	r.pass(20*time.Second, a, b, c)
	landed := false
	r.fail = func(n *instance, e Effect) (Done, bool) {
		if w, ok := e.(Write); ok && n == b && w.Key == HeadKey && !landed {
			landed = true
			r.put(HeadKey, w.Object)
		}
		if !landed {
			return Done{}, false
		}
		return cutOff(b)(n, e)
	}
	b.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(5*time.Second, b)
	r.pass(100*time.Second, c) // until b's lease is stale
	c.step(Promote{Request: "q", Mode: ModeFailover})
	r.pass(60*time.Second, c)
	if h := r.head(); !landed || h.Epoch != 3 || h.Active.Name != "c" {
		t.Fatalf("landed %v, head %+v", landed, h)
	}
	r.fail = nil
	r.pass(60*time.Second, b, c)
	undone := b.count(func(e Effect) bool { _, ok := e.(Rollback); return ok })
	if s := b.m.Status(); !b.done["p"] || b.answers["p"] != nil || undone > 0 || s.Role != RoleStandby || s.Demotion != nil {
		t.Fatalf("answer %v, %d rollbacks, %+v", b.answers["p"], undone, s)
	}
}

func TestPromoterLeavesTheMarkerOfTheEpochThatItEnds(t *testing.T) {
	r := newRig(t)
	a, b, c := r.active(), r.start("b", Journal{}), r.start("c", Journal{})
	r.pass(20*time.Second, a, b, c)
	r.fail = func(n *instance, e Effect) (Done, bool) {
		w, ok := e.(Write)
		return Done{ID: w.ID, Outcome: Unknown, Err: errors.New("reset")}, ok && n == b && w.Kind == KindMarker
	}
	b.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(5*time.Second, b)
	if _, ok := r.objects[MarkerKey(2)]; ok || r.head().Epoch != 2 {
		t.Fatalf("marker %v, head %+v", ok, r.head())
	}
	r.pass(100*time.Second, c) // b is gone
	c.step(Promote{Request: "q", Mode: ModeFailover})
	r.pass(60*time.Second, c)
	if mk, ok := r.objects[MarkerKey(2)].(*Marker); !ok || mk.Active.Name != "b" || mk.Restored == nil {
		t.Fatalf("the marker of the epoch between: %+v", r.objects[MarkerKey(2)])
	}
}

func TestRefusedActiveKeepsItsStateBeforeItIsPromoted(t *testing.T) {
	r := newRig(t)
	a := r.active()
	r.pass(20*time.Second, a)
	copied := r.start("a", a.journal)
	r.pass(10*time.Second, copied)
	salvages := func(e Effect) bool { _, ok := e.(MakeSalvage); return ok }
	fail := true
	r.fail = func(n *instance, e Effect) (Done, bool) {
		s, ok := e.(MakeSalvage)
		return Done{ID: s.ID, Outcome: Failed, Err: errors.New("the database is down")}, ok && fail
	}
	r.pass(20*time.Second, a, copied)
	if a.m.Status().Refused == "" || a.count(salvages) == 0 {
		t.Fatalf("%d salvages, %+v", a.count(salvages), a.m.Status())
	}
	a.step(Promote{Request: "early", Mode: ModeFailover})
	wantRefusal(t, a.answers["early"], "owes a salvage backup")
	fail = false
	r.pass(time.Minute, a, copied)
	listed := len(r.salvages())
	a = r.start("a", a.journal) // still refused, and has written nothing since
	r.pass(time.Minute, a, copied)
	if got := len(r.salvages()); a.m.Status().Refused == "" || got != listed {
		t.Fatalf("%d salvages, then %d, %+v", listed, got, a.m.Status())
	}
	a.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(time.Minute, a, copied)
	if h := r.head(); h.Epoch != 2 || !a.app {
		t.Fatalf("head %+v, app %v, %v", h, a.app, a.answers["p"])
	}
}

func TestStopDoesNotWaitForAFailedStart(t *testing.T) {
	r := newRig(t)
	r.head().Fencing.Mode = Strict
	r.fail = func(_ *instance, e Effect) (Done, bool) {
		s, ok := e.(StartApp)
		return Done{ID: s.ID, Outcome: Failed, Err: errors.New("it runs, and its hook fails")}, ok
	}
	a := r.active()
	r.pass(100*time.Second, a) // by now it is tried every 30 s
	stops := func(e Effect) bool { _, ok := e.(StopApp); return ok }
	before, starts := a.count(stops), func(e Effect) bool { _, ok := e.(StartApp); return ok }
	for n := a.count(starts); a.count(starts) == n; {
		r.pass(time.Second, a) // until it has just failed again
	}
	next := *r.head()
	next.Epoch, next.Rev, next.Nonce, next.Active = 2, next.Rev+1, "n2", Peer{Name: "b", Incarnation: "b1"}
	r.put(HeadKey, &next)
	r.pass(11*time.Second, a)
	if a.count(stops) == before {
		t.Fatal("not told to stop within a poll")
	}
}

func TestLostCommitOfARefusedActiveClaimsNothing(t *testing.T) {
	for _, epoch := range []uint64{1, 2} {
		t.Run(fmt.Sprint("epoch=", epoch), func(t *testing.T) {
			r := newRig(t)
			head := *r.head()
			head.Epoch, head.Rev, head.Nonce = epoch, 9, "another's"
			head.Newest = &backup.Ref{ID: "newest", Digest: "newest"}
			r.put(HeadKey, &head)
			a := r.start("a", Journal{
				Role: RoleActive, Epoch: 1, Last: Position{1, 5, "old"},
				Promotion: &Promotion{ID: "p", Mode: ModeFailover, Phase: PhaseCommit, Epoch: 1},
				Pending:   &Pending{Token: "gone", Nonces: []string{"lost"}, Commit: true},
			})
			r.pass(time.Minute, a)
			if h := r.head(); h.Nonce != "another's" || a.app || a.answers["p"] == nil {
				t.Fatalf("head %+v, app %v, answer %v", h, a.app, a.answers["p"])
			}
		})
	}
}
