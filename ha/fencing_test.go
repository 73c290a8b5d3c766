package ha

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// A change of the fencing may have landed though its answer was lost, and a
// successor goes by what the head says: until the outcome is known the
// application stops by the stricter of both bounds, after a restart too.
func TestWhileAChangeOfTheFencingIsPendingTheStricterBoundHolds(t *testing.T) {
	available, strict, patient := DefaultConfig().Fencing, DefaultConfig().Fencing, DefaultConfig().Fencing
	strict.Mode, patient.Mode = Strict, Strict
	patient.TTL = Duration(10 * time.Minute)
	const bound = 30 * time.Second // TTL - margin - stop time-out
	for name, change := range map[string]struct{ from, to Fencing }{
		"to strict":      {available, strict},
		"from strict":    {strict, available},
		"a shorter TTL":  {patient, strict},
		"a longer TTL":   {strict, patient},
		"a longer stop":  {strict, Fencing{Strict, strict.TTL, strict.StopTimeout + Duration(10*time.Second), strict.Margin}},
		"a wider margin": {strict, Fencing{Strict, strict.TTL, strict.StopTimeout, strict.Margin + Duration(5*time.Second)}},
	} {
		for _, restarted := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t)
				r.head().Fencing = change.from
				a := r.active()
				r.pass(20*time.Second, a)
				r.fail = r.answersLost()
				a.step(SetConfig{Request: "1", Digest: "other", Frequency: Duration(time.Minute), Fencing: change.to})
				if got := r.head().Fencing; got != change.to {
					t.Fatalf("the change did not land: %+v", got)
				}
				began := r.now
				if restarted {
					a = r.start("a", a.journal)
				}
				stops := func(e Effect) bool { s, ok := e.(StopApp); return ok && s.Servers }
				for a.count(stops) == 0 && r.now < began+12*time.Minute {
					r.pass(time.Second, a)
				}
				if after := r.now - began; a.count(stops) == 0 || after > bound {
					t.Errorf("restarted %v: the application was stopped %d times within %v of the change, and a successor may count on %v", restarted, a.count(stops), after, bound)
				}
				r.fail = nil
				r.pass(time.Minute, a)
				if !a.app {
					t.Error("the application was not started again when the bucket was back")
				}
				if got := a.journal.Fencing; len(got) != 1 || got[0] != change.to {
					t.Errorf("once the outcome is known the fencing is %+v, want %+v", got, change.to)
				}
			})
		}
	}
}

// answersLost lets the next write land, and from then on nothing: no answer
// comes.
func (r *rig) answersLost() func(n *instance, e Effect) (Done, bool) {
	landed := false
	return func(_ *instance, e Effect) (Done, bool) {
		switch e := e.(type) {
		case Read:
			return Done{ID: e.ID, Outcome: Unknown, Err: errors.New("cut")}, true
		case Write:
			if !landed {
				landed = true
				r.put(e.Key, e.Object)
			}
			return Done{ID: e.ID, Outcome: Unknown, Err: errors.New("cut")}, true
		}
		return Done{}, false
	}
}

// The bound counts on while no agent runs: a process that starts after it stops
// the application with its first step, whatever the bucket says, and one that
// starts before it stops the application when it has come.
func TestABoundThatPassesWhileNoAgentRunsHolds(t *testing.T) {
	const bound = 30 * time.Second // TTL - margin - stop time-out
	for name, c := range map[string]struct {
		down time.Duration
		boot string
		mode FencingMode
		want time.Duration // after the start; negative: the application runs on
	}{
		"passed":             {time.Minute, "boot", Strict, 0},
		"not passed":         {10 * time.Second, "boot", Strict, bound - 10*time.Second},
		"after a reboot":     {10 * time.Second, "another boot", Strict, 0},
		"available, however": {time.Minute, "boot", Available, -1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.head().Fencing.Mode = c.mode
			a := r.active()
			r.pass(20*time.Second, a) // the last renewal is sent now
			m := New(Params{Cluster: "c", Self: Peer{Name: "a", Incarnation: "a9"}, Boot: c.boot, Poll: 10 * time.Second, Random: rand.NewChaCha8([32]byte{})}, a.journal)
			stopped := time.Duration(-1)
			for after := time.Duration(0); after <= time.Minute && stopped < 0; after += time.Second {
				now := r.now + c.down + after
				for _, e := range m.Handle(Now{Mono: after, Boot: now, Wall: r.wall.Add(now)}, Tick{}) { // no request is ever answered
					if _, ok := e.(StopApp); ok {
						stopped = after
					}
				}
			}
			if stopped != c.want {
				t.Errorf("the application was stopped %v after the start, want %v", stopped, c.want)
			}
		})
	}
}
