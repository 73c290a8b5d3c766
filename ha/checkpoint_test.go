package ha

import (
	"testing"
	"time"
)

func isCheckpoint(e Effect) bool { _, ok := e.(Checkpoint); return ok }

// TestServersWriteWhatTheyHoldBeforeASwitchoverStopsThem: those of the candidate before it
// takes the lease, and those of the active before its application is stopped. That neither
// comes to an end holds nothing up for long.
func TestServersWriteWhatTheyHoldBeforeASwitchoverStopsThem(t *testing.T) {
	for name, ends := range map[string]bool{"they do": true, "they hang": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			a, b := r.active(), r.start("b", Journal{})
			r.pass(time.Minute, a, b)
			for _, n := range []*instance{a, b} {
				n.step(UseStreams{Sources: []string{"db"}})
			}
			begun, written, leased, stopped := r.now, map[*instance]time.Duration{}, time.Duration(0), time.Duration(0)
			r.fail = func(n *instance, e Effect) (Done, bool) {
				switch e := e.(type) {
				case Checkpoint:
					written[n] = r.now
					return Done{}, !ends // an answer to nothing
				case StopApp:
					if n == a && stopped == 0 {
						stopped = r.now
					}
				case Write:
					if e.Kind == KindLease && n == b && leased == 0 {
						leased = r.now
					}
				}
				return Done{}, false
			}
			b.step(Promote{Request: "there"})
			for range 120 {
				r.pass(time.Second, a, b)
			}
			if len(written) != 2 || leased == 0 || stopped == 0 || written[b] > leased || written[a] > stopped {
				t.Fatalf("written %v, lease %v, stop %v", written, leased, stopped)
			}
			took, waits := stopped-begun, 2*checkpointMost
			if ends && took >= checkpointMost || !ends && (took < waits || took > waits+10*time.Second) {
				t.Errorf("the application was stopped after %v", took)
			}
		})
	}
}

// TestAFailoverWritesNothingFirst: nobody has time for that.
func TestAFailoverWritesNothingFirst(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	b.step(UseStreams{Sources: []string{"db"}})
	r.pass(time.Minute, a, b)
	b.step(Promote{Request: "there", Mode: ModeFailover})
	r.pass(5*time.Minute, b)
	if n := b.count(isCheckpoint); n != 0 {
		t.Errorf("%d times", n)
	}
}

// TestAnActiveWhoseTimeIsOverStopsWhateverItsServersWrite.
func TestAnActiveWhoseTimeIsOverStopsWhateverItsServersWrite(t *testing.T) {
	r := newRig(t)
	head := r.objects[HeadKey].(*Head)
	head.Fencing.Mode, head.Fencing.StopTimeout = Strict, Duration(35*time.Second) // so that it is due before a checkpoint is waited for no more
	a, b := r.active(), r.start("b", Journal{})
	r.pass(time.Minute, a, b)
	a.step(UseStreams{Sources: []string{"db"}})
	var begun, stopped time.Duration
	r.fail = func(n *instance, e Effect) (Done, bool) {
		if n != a {
			return Done{}, false
		}
		switch e.(type) {
		case StopApp:
			stopped = max(stopped, r.now)
		case Checkpoint:
			begun = r.now
			return Done{}, true // an answer to nothing
		case Read, Write:
			return Done{}, begun != 0 // the bucket is away, too
		}
		return Done{}, false
	}
	b.step(Promote{Request: "there"})
	for range 120 {
		r.pass(time.Second, a, b)
	}
	f := head.Fencing
	if most := f.TTL.std() - f.Margin.std() - f.StopTimeout.std(); most >= checkpointMost || begun == 0 || stopped == 0 || stopped-begun > most {
		t.Errorf("asked after %v, stopped after %v, at most %v later", begun, stopped, most)
	}
}
