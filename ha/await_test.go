package ha

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// failover has b taken over from a dead a, and returns for how long b's
// application was waited for after the commit.
func (r *rig) failover(b *instance, p Promote) time.Duration {
	r.t.Helper()
	p.Request, p.Mode = "failover", ModeFailover
	begun := r.now
	b.step(p)
	for !b.app {
		r.pass(time.Second, b)
		if r.now > begun+5*time.Minute {
			r.t.Fatalf("no end: %v, %+v", b.answers["failover"], b.m.Status().Promotion)
		}
	}
	return r.now - begun
}

// TestAFailoverSaysHowLongItWaitsForTheOldActive: before it begins, and while it
// waits.
func TestAFailoverSaysHowLongItWaitsForTheOldActive(t *testing.T) {
	for _, mode := range []FencingMode{Available, Strict} {
		t.Run(string(mode), func(t *testing.T) {
			r := newRig(t)
			r.head().Fencing.Mode = mode
			a, b := r.active(), r.start("b", Journal{})
			r.pass(25*time.Second, a, b)
			told := b.m.Status().FailoverWait
			if told == nil || !strings.Contains(told.For, "a") || told.Word != (mode == Available) {
				t.Fatalf("a failover would wait: %+v", told)
			}
			b.step(Promote{Request: "p", Mode: ModeFailover})
			r.pass(time.Second, b)
			if w := b.m.Status().Waiting; w == nil || w.Left <= 0 || w.Left > told.Left || w.For != told.For {
				t.Fatalf("it waits: %+v, told before: %+v", w, told)
			}
			begun := r.now
			for !b.app && r.now < begun+5*time.Minute {
				r.pass(time.Second, b)
			}
			if took := r.now - begun; took > told.Left+2*time.Second || took < told.Left-5*time.Second {
				t.Errorf("it took %v, told were %v", took, told.Left)
			}
			if w := b.m.Status().Waiting; w != nil {
				t.Errorf("it still waits: %+v", w)
			}
		})
	}
}

// TestAChangeOfTheFencingDoesNotShortenTheWait: the old active goes by what was in
// force when it led, whatever its successor puts into force while it waits.
func TestAChangeOfTheFencingDoesNotShortenTheWait(t *testing.T) {
	old := DefaultConfig().Fencing
	old.Mode, old.TTL = Strict, Duration(100*time.Second)
	shorter, available := old, old
	shorter.TTL, available.Mode = Duration(60*time.Second), Available
	for _, to := range []Fencing{shorter, available} {
		for _, restarted := range []bool{false, true} {
			r := newRig(t)
			r.head().Fencing = old
			a, b := r.active(), r.start("b", Journal{})
			r.pass(25*time.Second, a, b)
			renewed := r.now
			b.step(Promote{Request: "p", Mode: ModeFailover})
			r.pass(2*time.Second, b)
			b.step(SetConfig{Request: "1", Digest: "other", Frequency: Duration(time.Minute), Fencing: to})
			if r.pass(2*time.Second, b); r.head().Epoch != 2 || r.head().Fencing != to {
				t.Fatalf("not in force: %+v", r.head())
			}
			if restarted {
				b = r.start("b", b.journal)
			}
			for !b.app && r.now < renewed+5*time.Minute {
				r.pass(time.Second, b)
			}
			if after := r.now - renewed; !b.app || after < old.TTL.std() {
				t.Errorf("to %+v, restarted %v: a second application after %v", to, restarted, after)
			}
		}
	}
}

func TestAnActiveThatHasLongBeenSilentIsNotWaitedFor(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	r.pass(90*time.Second, b)
	if w := b.m.Status().FailoverWait; w != nil {
		t.Errorf("a failover would wait: %+v", w)
	}
	if took := r.failover(b, Promote{}); took > 2*time.Second {
		t.Errorf("it waited %v", took)
	}
}

func TestTheWordThatTheHostIsOffEndsTheWait(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	if took := r.failover(b, Promote{HostIsOff: true, By: "alice"}); took > 2*time.Second {
		t.Errorf("it waited %v", took)
	}
	r.pass(time.Second, b)
	if mk := r.objects[MarkerKey(2)].(*Marker); !mk.HostIsOff || mk.By != "alice" {
		t.Errorf("the marker does not say on whose word: %+v", mk)
	}
	if b.count(func(e Effect) bool {
		report, ok := e.(Report)
		return ok && report.By == "alice" && strings.Contains(report.Text, "the host of a is off")
	}) == 0 {
		t.Error("no event says on whose word")
	}
}

func TestTheWordThatTheHostIsOffIsRefused(t *testing.T) {
	t.Run("under strict fencing", func(t *testing.T) {
		r := newRig(t)
		r.head().Fencing.Mode = Strict
		a, b := r.active(), r.start("b", Journal{})
		r.pass(20*time.Second, a, b)
		b.step(Promote{Request: "p", Mode: ModeFailover, HostIsOff: true})
		wantRefusal(t, b.answers["p"], "the fencing is strict")
	})
	t.Run("in a switchover", func(t *testing.T) {
		r := newRig(t)
		a, b := r.active(), r.start("b", Journal{})
		r.pass(20*time.Second, a, b)
		b.step(Promote{Request: "p", HostIsOff: true})
		wantRefusal(t, b.answers["p"], "goes with a failover")
	})
	t.Run("by the old active's next sign of life", func(t *testing.T) {
		r := newRig(t)
		a, b := r.active(), r.start("b", Journal{})
		r.pass(20*time.Second, a, b)
		b.hold = true
		b.step(Promote{Request: "p", Mode: ModeFailover, HostIsOff: true})
		r.pass(15*time.Second, a, b)
		b.hold = false
		for _, e := range b.held {
			if d, ok := b.work(e); ok {
				b.step(d)
			}
		}
		r.pass(20*time.Second, a, b)
		wantRefusal(t, b.answers["p"], "it is not")
		if r.head().Epoch != 1 || !a.app || b.app {
			t.Errorf("epoch %d, applications %v and %v", r.head().Epoch, a.app, b.app)
		}
	})
}

// TestAnActiveThatEndedInGoodOrderIsNotWaitedFor: the version of the head that
// the commit replaces says that nothing runs. That holds under strict fencing too.
func TestAnActiveThatEndedInGoodOrderIsNotWaitedFor(t *testing.T) {
	for _, mode := range []FencingMode{Available, Strict} {
		t.Run(string(mode), func(t *testing.T) {
			r := newRig(t)
			r.head().Fencing.Mode = mode
			a, b := r.active(), r.start("b", Journal{})
			r.pass(20*time.Second, a, b)
			a.step(Farewell{Request: "bye"})
			if !a.done["bye"] || a.app || !r.head().Stopped {
				t.Fatalf("answered %v, application %v, head %+v", a.done["bye"], a.app, r.head())
			}
			r.pass(11*time.Second, b)
			if w := b.m.Status().FailoverWait; w != nil {
				t.Errorf("a failover would wait: %+v", w)
			}
			if took := r.failover(b, Promote{}); took > 2*time.Second {
				t.Errorf("it waited %v", took)
			}
			if r.head().Stopped {
				t.Error("the new active's head says that its application has stopped")
			}
		})
	}
}

// TestAnActiveThatIsStartedAgainRunsItsApplication: its next head takes back that
// nothing runs before anything does, so whoever saw the farewell loses.
func TestAnActiveThatIsStartedAgainRunsItsApplication(t *testing.T) {
	r := newRig(t)
	r.head().Fencing.Mode = Strict
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	a.step(Farewell{Request: "bye"})
	r.pass(11*time.Second, b)
	a = r.start("a", a.journal)
	if r.head().Stopped || !a.app {
		t.Fatalf("head %+v, application %v", r.head(), a.app)
	}
	r.fail = cutOff(a)
	if took := r.failover(b, Promote{}); took < 30*time.Second {
		t.Errorf("it waited %v for an application that may run", took)
	}
}

func TestOneThatHandedOverToACandidateThatDiedIsNotWaitedFor(t *testing.T) {
	r := newRig(t)
	r.head().Fencing.Mode = Strict
	a, b, c := r.active(), r.start("b", Journal{}), r.start("c", Journal{})
	r.pass(20*time.Second, a, b, c)
	b.hold = true // it hangs in its restore
	b.step(Promote{Request: "p"})
	r.pass(12*time.Second, a, b)
	if !r.head().AtRest() || a.app {
		t.Fatalf("head %+v, application %v", r.head(), a.app)
	}
	r.pass(71*time.Second, c) // a and b are gone
	if took := r.failover(c, Promote{}); took > 2*time.Second {
		t.Errorf("it waited %v", took)
	}
}

// TestAHandoverThatWaitsSaysForWhatAndEnds: a demote hook that fails is told to
// the candidate, and after a while the old active declines and runs on.
func TestAHandoverThatWaitsSaysForWhatAndEnds(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	r.fail = func(n *instance, e Effect) (Done, bool) {
		s, ok := e.(StopApp)
		return Done{ID: s.ID, Outcome: Failed, Err: errors.New("the moon is not mounted")}, ok && n == a
	}
	b.step(Promote{Request: "p"})
	r.pass(12*time.Second, a, b)
	for _, n := range []*instance{a, b} {
		w := n.m.Status().Waiting
		if w == nil || !strings.Contains(w.For, "the moon is not mounted") || w.Left <= 0 || w.Left > time.Minute {
			t.Fatalf("%s waits: %+v", n.name, w)
		}
	}
	if w := b.m.Status().Waiting; !strings.HasPrefix(w.For, "a, which waits for its application to stop") {
		t.Errorf("the candidate does not say who waits: %s", w.For)
	}
	r.pass(2*time.Minute, a, b)
	wantRefusal(t, b.answers["p"], "declined: its application has not stopped for 1m0s: the moon is not mounted")
	if r.head().Epoch != 1 || a.m.Status().Waiting != nil {
		t.Fatalf("epoch %d, %+v", r.head().Epoch, a.m.Status())
	}
	r.fail = nil
	r.pass(time.Minute, a, b)
	if !a.app || r.head().Handover != nil {
		t.Errorf("the old active's application runs: %v; head %+v", a.app, r.head())
	}
}

func TestAHandoverThatWaitsForABackupSaysSo(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	a.hold = true
	a.step(RequestBackup{Request: "long"})
	b.step(Promote{Request: "p"})
	r.pass(12*time.Second, a, b)
	if w := b.m.Status().Waiting; w == nil || !strings.Contains(w.For, "a backup that had begun before") {
		t.Fatalf("it waits: %+v", w)
	}
	a.hold = false
	d, _ := a.work(a.held[0])
	a.step(d)
	r.pass(10*time.Second, a, b)
	if b.answers["p"] != nil || r.head().Epoch != 2 {
		t.Fatal(fmt.Sprint(b.answers["p"], r.head()))
	}
}
