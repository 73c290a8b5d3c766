package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/requests"
)

// resigned is how far the active has come in bringing what is in force under
// its keys. A ring is read once, at the start, so it is done once in each term
// as the active.
type resigned struct {
	done   bool
	failed string // the failure that was said last
}

// resignKeys brings under this instance's keys what the active does not write
// again by itself: the cluster's id, a lease that is free, and the data keys in
// the shared configuration. So a rotation reaches what is in force, and the old
// key can be retired. A failed attempt is repeated with the next table.
func (a *Agent) resignKeys(ctx context.Context) {
	if !a.state.View().Leading {
		a.resigned = resigned{}
		return
	}
	if a.resigned.done || !a.membership.TryLock() {
		return
	}
	defer a.membership.Unlock()
	err := a.resignLocked(ctx)
	switch {
	case err == nil:
		a.resigned.done = true
	case ha.IsRefusal(err), errors.Is(err, requests.ErrStopped), ctx.Err() != nil, err.Error() == a.resigned.failed:
	default:
		a.resigned.failed = err.Error()
		a.tell.Note(ctx, event.Warn, "key", "what is in force cannot be brought under the active key: "+err.Error(), nil)
	}
}

func (a *Agent) resignLocked(ctx context.Context) error {
	if err := a.resign(ctx, ha.KindCluster, ha.ClusterKey); err != nil {
		return err
	}
	// A lease that cannot be verified counts as none, and the machine tells.
	if err := a.resign(ctx, ha.KindLease, ha.LeaseKey); err != nil && !errors.Is(err, control.ErrUnverified) {
		return err
	}
	return a.changeConfigLocked(ctx, "the data keys were wrapped anew", func(*ha.Config) error { return nil })
}

func (a *Agent) resign(ctx context.Context, kind ha.Kind, key string) error {
	renewed, err := a.control.Resign(ctx, kind, key)
	if renewed {
		a.tell.Note(ctx, event.Info, "key", fmt.Sprintf("%s is signed anew (%s)", key, a.cfg.Ring), nil)
	}
	return err
}
