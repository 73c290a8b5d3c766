package shared

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

// ResignKeys brings under this instance's keys what the active does not write
// again by itself: the cluster's id, a lease that is free, and the data keys in
// the shared configuration. So a rotation reaches what is in force, and the old
// key can be retired. A failed attempt is repeated with the next table.
func (s *Shared) ResignKeys(ctx context.Context) {
	if !s.host.View().Leading {
		s.resigned = resigned{}
		return
	}
	if s.resigned.done || !s.changing.TryLock() {
		return
	}
	defer s.changing.Unlock()
	err := s.resignLocked(ctx)
	switch {
	case err == nil:
		s.resigned.done = true
	case ha.IsRefusal(err), errors.Is(err, requests.ErrStopped), ctx.Err() != nil, err.Error() == s.resigned.failed:
	default:
		s.resigned.failed = err.Error()
		s.host.Log.Note(ctx, event.Warn, "key", "what is in force cannot be brought under the active key: "+err.Error(), nil)
	}
}

func (s *Shared) resignLocked(ctx context.Context) error {
	if err := s.resign(ctx, ha.KindCluster, ha.ClusterKey); err != nil {
		return err
	}
	// A lease that cannot be verified counts as none, and the machine tells.
	if err := s.resign(ctx, ha.KindLease, ha.LeaseKey); err != nil && !errors.Is(err, control.ErrUnverified) {
		return err
	}
	return s.changeLocked(ctx, "the data keys were wrapped anew", func(*ha.Config) error { return nil })
}

func (s *Shared) resign(ctx context.Context, kind ha.Kind, key string) error {
	renewed, err := s.host.Control.Resign(ctx, kind, key)
	if renewed {
		s.host.Log.Note(ctx, event.Info, "key", fmt.Sprintf("%s is signed anew (%s)", key, s.host.Ring), nil)
	}
	return err
}
