package agent

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
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
	b, cluster, err := control.Open(ctx, a.cfg.control())
	if err != nil {
		return err
	}
	a.objects.Remember(&cluster)
	if b.Cluster() != a.control.Cluster() {
		return fmt.Errorf("%w: it holds another cluster (%s) than the data folder %s belongs to (%s): check UNDERSTUDY_BUCKET and UNDERSTUDY_DATA_DIR",
			control.ErrBucket, b.Cluster(), a.dir.path, a.control.Cluster())
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

// takeName makes the record this process's own. The instance that the head names,
// and that knows the head, takes the record from whoever has it: a copy of its data
// folder may have written it meanwhile. One that cannot be the true one leaves the
// record alone; so does one whose name is another's, as long as its state may be in
// no backup: it has to run to keep that.
func (a *Agent) takeName(ctx context.Context) error {
	h, err := a.control.Head(ctx)
	if err != nil { // the machine tells what is wrong, and nobody knows what this instance owes
		err := a.registrar.take(ctx, a.record(), false, false)
		if ha.IsRefusal(err) {
			a.registrar.mute, err = true, nil
		}
		return err
	}
	if err := a.cfg.refuseUnstoppable(a.live().Hooks, h); err != nil {
		return err
	}
	j := &a.begun
	named, knows := h.Active.Name == a.self.Name, j.Doubt == "" && j.Knows(h)
	if j.Doubt != "" || named && j.Role == ha.RoleActive && !knows && !h.IsOlder(j.Seen) { // an older head than this folder has seen says nothing of copies
		a.registrar.mute = true
		return nil
	}
	a.registrar.force = named && knows
	err = a.registrar.take(ctx, a.record(), false, false)
	missed := j.Seen.Epoch > 0 && h.Epoch > j.Seen.Epoch+1
	if owes := named || missed || j.Role == ha.RoleActive || j.Demotion != nil || j.Promotion != nil; owes && ha.IsRefusal(err) {
		a.registrar.mute = true
		return nil
	}
	return err
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
	h, err := a.control.Head(ctx)
	if err != nil {
		return false, err
	}
	c, err := a.configs.get(ctx, h.Config)
	if err != nil {
		return false, err
	}
	return c.Removed(a.self.Name), nil
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
		if !control.Unreachable(err) {
			return err
		}
		if err := wait(ctx, pause); err != nil {
			return err
		}
	}
	if !a.registrar.mute {
		a.post(ha.Registered{})
	}
	return a.keepRecord(ctx)
}

// putRecord writes the record. The instance that leads takes it back from whoever
// has written it: the head decides whose the name is. One whose name is another's,
// and whose state may be in no backup, goes on without a record, in red.
func (a *Agent) putRecord(ctx context.Context, rec ha.Instance) error {
	r, core := a.registrar, a.view()
	owes := core.Owes || core.Head == nil // before the head was read nobody knows
	r.force = core.Leading
	r.mute = r.mute && owes && !core.Leading
	err := r.put(ctx, rec)
	if errors.Is(err, errDeregistered) {
		err = a.registerAgain(ctx, core.Role)
	}
	const key = "name"
	switch {
	case ha.IsRefusal(err) && owes:
		r.mute = true
		a.trouble(ctx, identityKind, key, err.Error())
		return nil
	case err == nil && !r.mute:
		a.troubleOver(ctx, identityKind, key, "the name is this instance's own again")
		a.tellThief(ctx)
	}
	return err
}

// identityKind is the kind of events about whose a name is.
const identityKind = "identity"

// theftTold is for how long it is told that another process has written this
// instance's record.
const theftTold = 10 * time.Minute

// tellThief tells who else has written the record of this instance, lately.
func (a *Agent) tellThief(ctx context.Context) {
	const key = "record"
	r, now := a.registrar, a.cfg.Clock.Now().Mono
	switch {
	case r.thief != "":
		a.trouble(ctx, identityKind, key, fmt.Sprintf("another process under the name %s (incarnation %s) has written its record: a copy of its data folder runs, or ran, on another host; it is not the active: find it, stop its agent, and join it under a name of its own (UNDERSTUDY_INSTANCE) with: understudy join --replace", a.self.Name, r.thief))
		r.thief, r.stolen = "", now
	case r.stolen != 0 && now-r.stolen > theftTold:
		r.stolen = 0
		a.troubleOver(ctx, identityKind, key, "no other process writes this instance's record any more")
	}
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
			rec.Positions = a.positions(ctx)
			err := a.putRecord(ctx, rec)
			switch {
			case err != nil && (!control.Unreachable(err) || ctx.Err() != nil):
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
	return x.Role == y.Role && told(x.State) == told(y.State) && x.Epoch == y.Epoch && x.Ready == y.Ready && x.Unstoppable == y.Unstoppable && slices.Equal(x.Blockers, y.Blockers) &&
		x.LastError == y.LastError && x.Prometheus == y.Prometheus && x.BackupError == y.BackupError &&
		(x.Paused == nil) == (y.Paused == nil) && slices.Equal(x.Cached, y.Cached) &&
		reflect.DeepEqual(x.Rehearsals, y.Rehearsals) && sameSighting(x.Older, y.Older) && slices.Equal(x.Troubles, y.Troubles)
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
