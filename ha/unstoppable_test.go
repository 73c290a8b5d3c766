package ha

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// unstoppable starts the cluster's first active on a host where nothing can stop the
// application.
func (r *rig) unstoppable() *instance {
	return r.startWith("a", Journal{Role: RoleActive, Epoch: 1, First: true, Last: Position{1, 1, "n1"}}, func(p *Params) { p.Unstoppable = true })
}

func (n *instance) alarms(text string) int {
	return n.count(func(e Effect) bool {
		r, ok := e.(Report)
		return ok && r.Level == Alarm && strings.Contains(r.Text, text)
	})
}

// TestWhatNothingCanStopIsNotAcknowledgedAsStopped: the acknowledgement says what is
// true, and the new active waits as long as it waits for one that says nothing.
func TestWhatNothingCanStopIsNotAcknowledgedAsStopped(t *testing.T) {
	for _, stoppable := range []bool{true, false} {
		r := newRig(t)
		start := r.unstoppable
		if stoppable {
			start = r.active
		}
		a, b := start(), r.start("b", Journal{})
		r.pass(25*time.Second, a, b)
		b.step(Promote{Request: "p", Mode: ModeFailover, By: "alice"})
		a.step(Notified{})
		begun := r.now
		for !b.app && r.now < begun+5*time.Minute {
			if r.pass(time.Second, a, b); r.now == begun+5*time.Second && !stoppable {
				if w := b.m.Status().Waiting; w == nil || !strings.Contains(w.For, "stop it by hand") || w.Left <= 0 {
					t.Errorf("it waits: %+v", w)
				}
			}
		}
		took := r.now - begun
		ack, ok := r.objects[AckKey(2, a.m.p.Self)].(*Ack)
		if !ok || ack.Unstopped == stoppable {
			t.Fatalf("stoppable %v: acknowledged with %+v", stoppable, ack)
		}
		if stoppable {
			if took > 3*time.Second {
				t.Errorf("one that has stopped its application was waited for: %v", took)
			}
			continue
		}
		if want := 2*a.m.p.Poll + r.head().Fencing.StopTimeout.std(); took < want || took > want+2*time.Second {
			t.Errorf("it waited %v, not %v", took, want)
		}
		if !a.app || a.m.Status().App != "" {
			t.Errorf("the application runs: %v, and the status says %q", a.app, a.m.Status().App)
		}
		if b.alarms("nothing there can stop its application") != 1 || a.alarms("nothing here can stop the application") != 1 {
			t.Errorf("alarms: %d on the new active, %d on the old", b.alarms("nothing there"), a.alarms("nothing here"))
		}
		r.pass(30*time.Second, a, b)
		last := b.m.Status().Last
		if last == nil || !strings.Contains(last.Steps[len(last.Steps)-2].Note, "may run beside") {
			t.Errorf("the promotion says: %+v", last)
		}
		for key, o := range r.objects {
			if s, ok := o.(*SalvageRecord); ok && !s.Unstopped {
				t.Errorf("%s says that nothing was written since: %+v", key, s)
			}
		}
	}
}

// TestTheWordThatTheApplicationIsStoppedEndsAFailoversWait: once the old active has
// said that it starts its application no more, and not before.
func TestTheWordThatTheApplicationIsStoppedEndsAFailoversWait(t *testing.T) {
	r := newRig(t)
	a, b := r.unstoppable(), r.start("b", Journal{})
	r.pass(25*time.Second, a, b)
	begun := r.now
	b.step(Promote{Request: "p", Mode: ModeFailover, AppIsStopped: true, By: "alice"})
	r.pass(5*time.Second, b)
	if b.app {
		t.Fatal("the application was started before the old active knows")
	}
	r.pass(15*time.Second, a, b)
	if !b.app || r.now-begun > 25*time.Second {
		t.Fatalf("application %v, %+v", b.app, b.m.Status().Promotion)
	}
	if mk := r.objects[MarkerKey(2)].(*Marker); !mk.AppIsStopped || mk.By != "alice" {
		t.Errorf("the marker does not say on whose word: %+v", mk)
	}
}

func TestOneThatNothingCanStopHandsOverOnAWordOnly(t *testing.T) {
	r := newRig(t)
	a, b := r.unstoppable(), r.start("b", Journal{})
	r.pass(25*time.Second, a, b)
	b.step(Promote{Request: "p"})
	r.pass(30*time.Second, a, b)
	wantRefusal(t, b.answers["p"], "--application-is-stopped")
	if r.head().Epoch != 1 || !a.app || b.app {
		t.Fatalf("epoch %d, applications %v and %v", r.head().Epoch, a.app, b.app)
	}
	r.pass(30*time.Second, a, b)

	a.app = false // by hand
	b.step(Promote{Request: "q", AppIsStopped: true, By: "alice"})
	r.pass(time.Minute, a, b)
	if r.head().Epoch != 2 || !b.app || b.answers["q"] != nil {
		t.Fatalf("epoch %d, application %v, answer %v", r.head().Epoch, b.app, b.answers["q"])
	}
	handed := 0
	for _, e := range a.seen {
		w, _ := e.(Write)
		if h, ok := w.Object.(*Head); ok && h.Handover != nil && h.Handover.State == Handed {
			if handed++; !h.Handover.Unstopped || h.Handover.OnWordOf != "alice" || h.AtRest() {
				t.Errorf("handed over with %+v", h.Handover)
			}
		}
	}
	if handed == 0 {
		t.Error("nothing was handed over")
	}
	if mk := r.objects[MarkerKey(2)].(*Marker); !mk.AppIsStopped || mk.By != "alice" {
		t.Errorf("the marker does not say on whose word: %+v", mk)
	}
	if l := r.objects[LeaseKey].(*Lease); l.StoppedOnWordOf != "alice" {
		t.Errorf("the lease does not say on whose word: %+v", l)
	}
	if ack := r.objects[AckKey(2, a.m.p.Self)].(*Ack); !ack.Unstopped {
		t.Errorf("acknowledged with %+v", ack)
	}
	// The word may be wrong: what differs from the final backup is kept.
	if a.count(func(e Effect) bool { s, ok := e.(MakeSalvage); return ok && s.Against != nil }) == 0 {
		t.Error("nobody has looked whether something was written after the final backup")
	}
}

// TestAWordStaysWithItsHandover: also when the active is started again in it.
func TestAWordStaysWithItsHandover(t *testing.T) {
	r := newRig(t)
	a, b, c := r.unstoppable(), r.start("b", Journal{}), r.start("c", Journal{})
	r.pass(25*time.Second, a, b, c)
	b.hold = true // it hangs in its restore
	b.step(Promote{Request: "p", AppIsStopped: true, By: "alice"})
	r.pass(15*time.Second, a, b, c)
	a = r.startWith("a", a.reread(), func(p *Params) { p.Unstoppable = true })
	r.pass(5*time.Second, a, b, c)
	if h := r.head().Handover; h == nil || h.State != Handed || !h.Unstopped || h.OnWordOf != "alice" {
		t.Fatalf("the head says %+v", h)
	}
	// Another candidate has nobody's word: it waits.
	r.pass(30*time.Second, a, c)
	b.hold = false
	r.pass(71*time.Second, c)
	if took := r.failover(c, Promote{}); took > 2*time.Second {
		t.Errorf("it waited %v for one that is silent", took)
	}
}

func TestOneThatNothingCanStopSaysNoFarewell(t *testing.T) {
	r := newRig(t)
	a, b := r.unstoppable(), r.start("b", Journal{})
	r.pass(25*time.Second, a, b)
	a.step(Farewell{Request: "bye"})
	r.pass(5*time.Second, a, b)
	if !a.done["bye"] || r.head().Stopped {
		t.Errorf("answered %v, the head says that it has stopped: %v", a.done["bye"], r.head().Stopped)
	}
}

func TestStrictFencingIsRefusedWhereNothingCanStopTheApplication(t *testing.T) {
	t.Run("as a change", func(t *testing.T) {
		r := newRig(t)
		a := r.unstoppable()
		strict := SetConfig{Request: "s", Digest: "d", Fencing: DefaultConfig().Fencing}
		strict.Fencing.Mode = Strict
		a.step(strict)
		wantRefusal(t, a.answers["s"], "configure hooks.demote")
		a.step(UsePolicy{}) // a hook was configured
		strict.Request = "t"
		a.step(strict)
		if !a.done["t"] || a.answers["t"] != nil || r.head().Fencing.Mode != Strict {
			t.Errorf("with a hook: %v, head %+v", a.answers["t"], r.head())
		}
	})
	t.Run("before a promotion", func(t *testing.T) {
		r := newRig(t)
		r.head().Fencing.Mode = Strict
		a, b := r.active(), r.startWith("b", Journal{}, func(p *Params) { p.Unstoppable = true })
		r.pass(25*time.Second, a, b)
		b.step(Promote{Request: "p"})
		wantRefusal(t, b.answers["p"], "strict fencing needs")
	})
	t.Run("before its commit", func(t *testing.T) {
		r := newRig(t)
		a, b := r.active(), r.startWith("b", Journal{}, func(p *Params) { p.Unstoppable = true })
		r.pass(25*time.Second, a, b)
		b.hold = true
		b.step(Promote{Request: "p", Mode: ModeFailover})
		r.pass(2*time.Second, a, b)
		strict := SetConfig{Request: "s", Digest: "d", Fencing: DefaultConfig().Fencing}
		strict.Fencing.Mode = Strict
		a.step(strict)
		b.hold = false
		for _, e := range b.held {
			if d, ok := b.work(e); ok {
				b.step(d)
			}
		}
		r.pass(20*time.Second, a, b)
		wantRefusal(t, b.answers["p"], "strict fencing needs")
		if r.head().Epoch != 1 || !a.app {
			t.Errorf("epoch %d, application %v", r.head().Epoch, a.app)
		}
	})
	t.Run("and nobody's word is taken under it", func(t *testing.T) {
		r := newRig(t)
		r.head().Fencing.Mode = Strict
		a, b := r.active(), r.start("b", Journal{})
		r.pass(25*time.Second, a, b)
		b.step(Promote{Request: "p", AppIsStopped: true})
		wantRefusal(t, b.answers["p"], "the fencing is strict")
	})
}

// TestAHookThatIsConfiguredStopsWhatWasToStop: at once, where nothing could before.
func TestAHookThatIsConfiguredStopsWhatWasToStop(t *testing.T) {
	r := newRig(t)
	a, b := r.unstoppable(), r.start("b", Journal{})
	r.pass(25*time.Second, a, b)
	b.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(70*time.Second, a, b)
	if !a.app || a.m.Status().Role != RoleStandby {
		t.Fatalf("application %v, role %s", a.app, a.m.Status().Role)
	}
	a.step(UsePolicy{})
	if a.app || a.m.Status().App != "stopped" {
		t.Errorf("application %v, status %q", a.app, a.m.Status().App)
	}
}

// TestASalvageOfWhatMayRunOnIsNotTheLast: what a refused instance has is compared with
// its salvage backup when it joins: its application may have run on, or again.
func TestASalvageOfWhatMayRunOnIsNotTheLast(t *testing.T) {
	h := &Head{Epoch: 3, Active: Peer{Name: "a"}}
	salvage := &backup.Ref{ID: "s", Epoch: 3, Sequence: 7}
	for _, unstopped := range []bool{false, true} {
		old := Journal{Cluster: "c", Instance: "a", Role: RoleActive, Epoch: 3, Demotion: &Demotion{Epoch: 3, Acked: true, Known: true, Refused: true, Made: true, Salvage: salvage, Unstopped: unstopped}}
		if j := JoinJournal(old, "c", "a", h); j.Demotion == nil || j.Demotion.Made || j.Demotion.Kept != salvage {
			t.Errorf("unstopped %v: it owes %+v", unstopped, j.Demotion)
		}
	}
}
