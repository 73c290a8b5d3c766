package ha

import (
	"errors"
	"testing"
	"time"
)

func isRejoin(e Effect) bool { _, ok := e.(Rejoin); return ok }

// TestAFormerActiveTriesToFollowAsItIs, once, from what its successor has begun with, and
// beside a pull.
func TestAFormerActiveTriesToFollowAsItIs(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(time.Minute, a, b)
	var pulling bool
	r.fail = func(n *instance, e Effect) (Done, bool) {
		if p, ok := e.(Pull); ok && n == a {
			pulling = true
			return Done{ID: p.ID, Outcome: Failed, Err: errors.New("it is large")}, true
		}
		if j, ok := e.(Rejoin); ok {
			head := r.objects[HeadKey].(*Head)
			if !same(&j.Ref, head.StartedFrom) || a.m.Status().Demotion != nil {
				t.Errorf("it follows from %v, and not from %v; demotion %+v", j.Ref, head.StartedFrom, a.m.Status().Demotion)
			}
			return Done{ID: j.ID, Outcome: Failed, Err: errors.New("no luck")}, true
		}
		return Done{}, false
	}
	b.step(Promote{Request: "there"})
	r.pass(5*time.Minute, a, b)
	if got := a.count(isRejoin); got != 1 || !pulling {
		t.Errorf("tried %d times, pulls %v", got, pulling)
	}
	if got := b.count(isRejoin); got != 0 {
		t.Errorf("the new active tried %d times", got)
	}
	if last := b.m.Status().Last; last == nil || !last.Promoted {
		t.Errorf("the promotion: %+v", last)
	}
}

// TestAnInstanceThatDoesNotRehearseKeepsNoStageOfItsOwn.
func TestAnInstanceThatDoesNotRehearseKeepsNoStageOfItsOwn(t *testing.T) {
	r := newRig(t)
	a := r.startWith("a", Journal{Role: RoleActive, Epoch: 1, First: true, Last: Position{1, 1, "n1"}}, func(p *Params) { p.Rehearsal.Off = true })
	b := r.start("b", Journal{})
	r.pass(time.Minute, a, b)
	b.step(Promote{Request: "there"})
	r.pass(5*time.Minute, a, b)
	if got := a.count(isRejoin); got != 0 || a.m.Status().Role != RoleStandby {
		t.Errorf("tried %d times, %s", got, a.m.Status().Role)
	}
}

// TestAPromotionDoesNotWaitForARejoin: it makes way.
func TestAPromotionDoesNotWaitForARejoin(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(time.Minute, a, b)
	b.step(Promote{Request: "there"})
	r.fail = func(n *instance, e Effect) (Done, bool) {
		n.hold = n.hold || isRejoin(e)
		return Done{}, false
	}
	r.pass(time.Minute, a, b)
	if a.count(isRejoin) != 1 {
		t.Fatal("it did not try")
	}
	a.step(Promote{Request: "back"})
	cancelled := a.count(func(e Effect) bool { _, ok := e.(Cancel); return ok })
	if !a.m.work.isYielding() || cancelled == 0 {
		t.Errorf("yields %v, %d cancelled", a.m.work.isYielding(), cancelled)
	}
}

// TestAFormerActiveLeavesTheDiskToItsSuccessorFirst: until that one's application runs, or for a
// minute. Meanwhile it stages nothing else.
func TestAFormerActiveLeavesTheDiskToItsSuccessorFirst(t *testing.T) {
	for name, ships := range map[string]bool{"it ships": true, "it does not": false} {
		t.Run(name, func(t *testing.T) {
			r, a, b := streaming(t)
			r.pass(time.Minute, a, b)
			r.fail = func(n *instance, e Effect) (Done, bool) {
				if _, ok := e.(MakeBackup); ok && n == b {
					return Done{}, true // it takes long
				}
				return ends(n, e)
			}
			b.step(Promote{Request: "there"})
			for !b.app {
				r.pass(time.Second, a, b)
			}
			since := len(a.seen)
			r.pass(30*time.Second, a, b)
			if a.m.Status().Demotion != nil {
				t.Fatalf("it steps down yet: %+v", a.m.Status().Demotion)
			}
			for _, e := range a.seen[since:] {
				switch e.(type) {
				case Rejoin, Rehearse:
					t.Errorf("too early: %T", e)
				}
			}
			wait := rejoinMost
			if ships {
				b.step(StreamReady{Source: "db", From: 100})
				wait = 20 * time.Second
			}
			r.pass(wait, a, b)
			if a.count(isRejoin) != 1 {
				t.Errorf("it tried %d times; head %+v", a.count(isRejoin), r.head())
			}
		})
	}
}
