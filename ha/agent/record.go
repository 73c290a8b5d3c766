package agent

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/peers"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/runner"
)

// Intervals of an instance's record.
const (
	recordEvery   = time.Minute      // at least
	recordPause   = 2 * time.Second  // between two writes
	recordSlack   = 30 * time.Second // that a write may take, with the attempts that fail
	admitPauseMin = time.Second      // between two attempts at admission, growing up to the poll interval
)

// recorder keeps this instance's record in the bucket. It belongs to one goroutine.
type recorder struct {
	admission admission
	state     *runner.State
	clock     clock.Clock
	poll      time.Duration
	log       event.Reporter
	// record is what this instance says of itself now, but for the positions of the
	// active's sources.
	record    func() ha.Instance
	positions func(ctx context.Context) map[string]string
	// registered is called once the name is this instance's, and news when it says
	// something else of whether it could take over.
	registered func()
	news       func(ctx context.Context)
}

// admission is whether the bucket may be used under this instance's name.
type admission interface {
	Admit(ctx context.Context, role ha.Role) error
	// Muted reports whether the record is left to another process.
	Muted() bool
	PutRecord(ctx context.Context, rec ha.Instance) error
}

// run is admitted, and then keeps the record current.
func (r *recorder) run(ctx context.Context) error {
	for pause := admitPauseMin; ; pause = min(2*pause, max(admitPauseMin, r.poll)) {
		err := r.admission.Admit(ctx, r.state.View().Role)
		if err == nil {
			break
		}
		if !control.Unreachable(err) {
			return err
		}
		if err := wait(ctx, pause); err != nil {
			return err
		}
	}
	if !r.admission.Muted() {
		r.registered()
	}
	return r.keep(ctx)
}

// keep writes the record once a minute, and soon after it changes.
func (r *recorder) keep(ctx context.Context) error {
	var written ha.Instance
	var at time.Duration
	failing := false
	for {
		changed := r.state.Changed()
		rec := r.record()
		if now := r.clock.Now().Mono; at == 0 || now-at >= recordEvery || !sameRecord(rec, written) {
			if r.state.View().Leading {
				rec.Positions = r.positions(ctx)
			}
			err := r.admission.PutRecord(ctx, rec)
			switch {
			case err != nil && (!control.Unreachable(err) || ctx.Err() != nil):
				return err
			case err != nil && !failing:
				r.log.Note(ctx, event.Warn, "record", "this instance's record cannot be written: "+err.Error(), nil)
			case err == nil:
				if !sameStanding(rec, written) {
					r.news(ctx)
				}
				written, at = rec, now
			}
			failing = err != nil
			if err := wait(ctx, recordPause); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// sameRecord reports whether two records tell the same. That a standby does not
// have the newest backup yet the others see by the head: saying so would hold up,
// by the pause between two writes, that it has it.
func sameRecord(x, y ha.Instance) bool {
	return x.Role == y.Role && told(x.State) == told(y.State) && x.Epoch == y.Epoch && x.Ready == y.Ready && x.Unstoppable == y.Unstoppable && slices.Equal(x.Blockers, y.Blockers) &&
		x.LastError == y.LastError && x.Prometheus == y.Prometheus && x.BackupError == y.BackupError &&
		(x.Paused == nil) == (y.Paused == nil) && slices.Equal(x.Cached, y.Cached) &&
		reflect.DeepEqual(x.Rehearsals, y.Rehearsals) && peers.SameSighting(x.Older, y.Older) && slices.Equal(x.Troubles, y.Troubles)
}

// sameStanding reports whether two records tell the same of whether their
// instance could take over.
func sameStanding(x, y ha.Instance) bool {
	x.Rehearsals, y.Rehearsals = nil, nil
	return sameRecord(x, y)
}

func told(state string) string {
	if state == report.StateBehind {
		return report.StateInSync
	}
	return state
}

// wait waits, unless ctx ends first.
func wait(ctx context.Context, d time.Duration) error { return clock.Wait(ctx, d) }
