package agent

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
)

// admit finds out whether the bucket may be used under this instance's name,
// and takes the name. Until that has worked once, the machine sees a bucket
// that does not answer.
func (a *Agent) admit(ctx context.Context, role ha.Role) error {
	err := a.tryAdmit(ctx, role)
	if err != nil {
		a.admitError.Store(&err)
	} else {
		close(a.admitted)
	}
	if !closed(a.looked) {
		close(a.looked)
	}
	return err
}

// awaitAdmission waits for the first attempt at admission, and says why the
// machine cannot use the bucket yet.
func (a *Agent) awaitAdmission(ctx context.Context) error {
	select {
	case <-a.looked:
	case <-ctx.Done():
		return ctx.Err()
	}
	if a.isAdmitted() {
		return nil
	}
	return *a.admitError.Load()
}

func (a *Agent) tryAdmit(ctx context.Context, role ha.Role) error {
	b, _, err := openBucket(ctx, a.cfg)
	if err != nil {
		return err
	}
	if b.Cluster() != a.bucket.Cluster() {
		return fmt.Errorf("%w: it holds another cluster (%s) than the data folder %s belongs to (%s): check UNDERSTUDY_BUCKET and UNDERSTUDY_DATA_DIR",
			ErrBucket, b.Cluster(), a.dir.path, a.bucket.Cluster())
	}
	if err := checkStore(ctx, a.cfg); err != nil {
		return err
	}
	err = a.takeName(ctx)
	if errors.Is(err, errDeregistered) {
		err = a.registerAgain(ctx, role)
	}
	return err
}

// takeName makes the record this process's own. A copy of an active's data
// folder knows the record's incarnation, but not the head: it leaves the record
// alone, or the original could not start again.
func (a *Agent) takeName(ctx context.Context) error {
	if a.begun.Role == ha.RoleActive {
		// When the head cannot be read, the machine tells what is wrong.
		h, err := a.bucket.Head(ctx)
		if err == nil && h.Epoch <= a.begun.Epoch && !a.begun.Knows(h) {
			return a.registrar.yield(ctx)
		}
	}
	return a.registrar.take(ctx, a.record(), false, false)
}

// registerAgain makes this instance's record anew, unless it is gone because
// the instance was removed.
func (a *Agent) registerAgain(ctx context.Context, role ha.Role) error {
	if role != ha.RoleActive {
		removed, err := a.removed(ctx)
		if err != nil {
			return err
		}
		if removed {
			return &ha.Refusal{Reason: fmt.Sprintf("the instance %s was removed from the cluster: join it again with: understudy join", a.self.Name)}
		}
	}
	return a.registrar.take(ctx, a.record(), true, false)
}

// removed reads whether the configuration in force says that this instance was
// removed.
func (a *Agent) removed(ctx context.Context) (bool, error) {
	h, err := a.bucket.Head(ctx)
	if err != nil {
		return false, err
	}
	c, err := a.configs.get(ctx, h.Config)
	if err != nil {
		return false, err
	}
	m, found := c.Member(a.self.Name)
	return found && m.Removed, nil
}

func (a *Agent) isAdmitted() bool { return closed(a.admitted) }

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// Intervals of an instance's record.
const (
	recordEvery   = time.Minute      // at least
	recordPause   = 2 * time.Second  // between two writes
	recordSlack   = 30 * time.Second // that a write may take, with the attempts that fail
	admitPauseMin = time.Second      // between two attempts at admission, growing up to the poll interval
)

// keepRegistered is admitted, and then keeps this instance's record current.
func (a *Agent) keepRegistered(ctx context.Context) error {
	for pause := admitPauseMin; ; pause = min(2*pause, max(admitPauseMin, a.cfg.Poll)) {
		err := a.admit(ctx, a.view().Role)
		if err == nil {
			break
		}
		if !unreachable(err) {
			return err
		}
		if err := wait(ctx, pause); err != nil {
			return err
		}
	}
	if !a.registrar.mute {
		a.post(ha.Registered{})
	}
	err := a.keepRecord(ctx)
	if ha.IsRefusal(err) && a.view().Role == ha.RoleActive {
		// The head decides who is active: it fences this process if it has to.
		a.note(ctx, event.Alarm, "identity", err.Error(), nil)
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

// keepRecord writes the record once a minute, and soon after it changes.
func (a *Agent) keepRecord(ctx context.Context) error {
	var written ha.Instance
	var at time.Duration
	failing := false
	for {
		changed := a.Changed()
		rec := a.record()
		if now := a.cfg.Clock.Now().Mono; at == 0 || now-at >= recordEvery || !sameRecord(rec, written) {
			a.registrar.mute = a.registrar.mute && !a.view().Leading
			rec.Positions = a.positions(ctx)
			err := a.registrar.put(ctx, rec)
			if errors.Is(err, errDeregistered) {
				err = a.registerAgain(ctx, a.view().Role)
			}
			switch {
			case err != nil && (!unreachable(err) || ctx.Err() != nil):
				return err
			case err != nil && !failing:
				a.note(ctx, event.Warn, "record", "this instance's record cannot be written: "+err.Error(), nil)
			case err == nil:
				if !sameStanding(rec, written) {
					a.tellActive(ctx)
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
	return x.Role == y.Role && told(x.State) == told(y.State) && x.Epoch == y.Epoch && x.Ready == y.Ready && slices.Equal(x.Blockers, y.Blockers) &&
		x.LastError == y.LastError && x.Prometheus == y.Prometheus && x.BackupError == y.BackupError &&
		(x.Paused == nil) == (y.Paused == nil) && slices.Equal(x.Cached, y.Cached) &&
		reflect.DeepEqual(x.Rehearsals, y.Rehearsals) && slices.Equal(x.Troubles, y.Troubles)
}

// sameStanding reports whether two records tell the same of whether their
// instance could take over.
func sameStanding(x, y ha.Instance) bool {
	x.Rehearsals, y.Rehearsals = nil, nil
	return sameRecord(x, y)
}

func told(state string) string {
	if state == StateBehind {
		return StateInSync
	}
	return state
}

// wait waits, unless ctx ends first.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
