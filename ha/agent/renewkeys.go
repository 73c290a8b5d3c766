package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
)

// renewal is how far the active has come in bringing what is in force under
// its keys. A ring is read once, at the start, so it is done once in each term
// as the active.
type renewal struct {
	done   bool
	failed string // the failure that was said last
}

// renewKeys brings under this instance's keys what the active does not write
// again by itself: the cluster's id, a lease that is free, and the data keys in
// the shared configuration. So a rotation reaches what is in force, and the old
// key can be retired. A failed attempt is repeated with the next table.
func (a *Agent) renewKeys(ctx context.Context) {
	if !a.view().Leading {
		a.renewal = renewal{}
		return
	}
	if a.renewal.done || !a.membership.TryLock() {
		return
	}
	defer a.membership.Unlock()
	err := a.renewKeysLocked(ctx)
	switch {
	case err == nil:
		a.renewal.done = true
	case ha.IsRefusal(err), errors.Is(err, ErrStopped), ctx.Err() != nil, err.Error() == a.renewal.failed:
	default:
		a.renewal.failed = err.Error()
		a.note(ctx, event.Warn, "key", "what is in force cannot be brought under the active key: "+err.Error(), nil)
	}
}

func (a *Agent) renewKeysLocked(ctx context.Context) error {
	if err := a.resign(ctx, ha.KindCluster, ha.ClusterKey); err != nil {
		return err
	}
	// A lease that cannot be verified counts as none, and the machine tells.
	if err := a.resign(ctx, ha.KindLease, ha.LeaseKey); err != nil && !errors.Is(err, ErrUnverified) {
		return err
	}
	return a.changeConfigLocked(ctx, "the data keys were wrapped anew", func(*ha.Config) error { return nil })
}

func (a *Agent) resign(ctx context.Context, kind ha.Kind, key string) error {
	renewed, err := a.bucket.resign(ctx, kind, key)
	if renewed {
		a.note(ctx, event.Info, "key", fmt.Sprintf("%s is signed anew (%s)", key, a.cfg.Ring), nil)
	}
	return err
}

// resign signs a control object anew where Ring.Resign finds that due, its
// content unchanged, and reports whether it did. A missing object and a lease
// that is held are left alone. Unknown outcomes are resolved: it is done when
// the object reads as signed.
func (b *Bucket) resign(ctx context.Context, kind ha.Kind, key string) (renewed bool, err error) {
	var last error
	for range 5 {
		signed, attrs, err := b.fetch(ctx, key, "")
		if errors.Is(err, blobstore.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		object, err := b.decode(kind, key, signed)
		if err != nil {
			return false, err
		}
		if l, ok := object.(*ha.Lease); ok && !l.Released {
			return false, nil
		}
		next, err := b.ring.Resign(b.scope(kind, key), signed)
		if err != nil {
			return false, err
		}
		if bytes.Equal(next, signed) {
			return last != nil, nil
		}
		_, last = b.put(ctx, key, next, blobstore.IfMatch(attrs.Token))
		if last == nil {
			return true, nil
		}
		if !errors.Is(last, blobstore.ErrPrecondition) && !errors.Is(last, blobstore.ErrUnknownOutcome) {
			return false, last
		}
	}
	return false, last
}
