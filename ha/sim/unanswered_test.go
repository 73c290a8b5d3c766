package sim

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha"
)

// TestHoursWithoutAnAnswerEndWell has no write of the head answered for hours,
// some of which land all the same, at once or later, while processes end and
// begin: the journal stays small, each write is known again, and everything is
// well in the end.
func TestHoursWithoutAnAnswerEndWell(t *testing.T) {
	var failures failures
	forSeeds(1, 20, func(s uint64) {
		attempts, landed := 0, 0
		o := Options{Seed: s, Hosts: 2, Fencing: ha.Available, Duration: 5 * time.Hour, Faults: Quiet()}
		o.Faults.Operate = time.Hour
		o.Faults.Every, o.Faults.Trouble.Crash = time.Hour, 1
		o.Wrap = func(p *Process, next Runner) Runner {
			return func(e ha.Effect, done func(ha.Done)) {
				w, ok := e.(ha.Write)
				if now := p.h.w.now; !ok || w.Key != ha.HeadKey || now < 10*time.Minute || now > 4*time.Hour {
					next(e, done)
					return
				}
				attempts++
				p.h.unwell(p.h.w.now + requestTimeout) // it is held to nothing meanwhile
				if attempts%150 == 0 {                 // it lands, perhaps after others were sent
					landed++
					w.Object = copied(w.Object)
					p.h.w.after(time.Duration(landed%5)*20*time.Second, func() { p.h.w.store.swap(w) })
				}
				answers(p, done, ha.Done{ID: w.ID, Outcome: ha.Unknown, Err: errFault})
			}
		}
		if err := New(o).Run(); err != nil {
			failures.add(t, s, err)
		}
		if attempts < 300 || landed == 0 {
			t.Errorf("seed %d: %d attempts, %d landed", s, attempts, landed)
		}
	})
}
