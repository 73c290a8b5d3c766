package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/blobstore"
)

func (w *writing) lock(life time.Duration) blobstore.Lock {
	return blobstore.LockFor(w.o.Lock, w.o.StoreTime(), life)
}

// lockSlack is how much earlier than wanted a lock may end without being
// extended: clocks differ, and a pack has a day to spare.
const lockSlack = time.Hour

// extendLocks makes the locks of the packs that may be reused last as long as
// the packs do. A pack that is due is written again, with a lock of its own.
func (w *writing) extendLocks(ctx context.Context, index *pack.Index) error {
	if !w.o.ExtendLocks || w.o.Lock == blobstore.NoLock {
		return nil
	}
	locks, ok := blobstore.As[blobstore.Locks](w.all.Store)
	if !ok {
		return nil
	}
	rules, now := w.o.rules(), w.o.StoreTime()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for _, p := range index.Packs() {
		if rules.Due(p, now) {
			continue
		}
		group.Go(func() error {
			err := extendLock(ctx, locks, p.Digest.Key(), blobstore.LockFor(w.o.Lock, p.Time, rules.PackLife()))
			if err != nil && !errors.Is(err, blobstore.ErrNotFound) {
				return fmt.Errorf("extend the lock of a pack of the previous backup: %w", err)
			}
			return nil
		})
	}
	return group.Wait()
}

// extendLock extends one lock, if it ends too early.
func extendLock(ctx context.Context, locks blobstore.Locks, key string, want blobstore.Lock) error {
	have, err := locks.LockOf(ctx, key)
	if err != nil || have.Until.After(want.Until.Add(-lockSlack)) {
		return err
	}
	return locks.ExtendLock(ctx, key, want)
}
