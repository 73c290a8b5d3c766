package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
)

// locking is how backups are locked in this bucket, as last read. It is safe for
// concurrent use.
type locking struct {
	mu       sync.Mutex
	read     bool // whether the bucket was asked, with an answer or without
	mode     blobstore.LockMode
	extended time.Duration // the life of packs for which their locks were extended
}

// change does something to it, and returns what it is then.
func (l *locking) change(do func(*locking)) (mode blobstore.LockMode, extended time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do(l)
	return l.mode, l.extended
}

func (l *locking) current() blobstore.LockMode {
	mode, _ := l.change(func(*locking) {})
	return mode
}

// readLock asks the bucket how backups are to be locked. While it does not say
// what it said last counts; that it never did is a trouble.
func (a *Agent) readLock(ctx context.Context) {
	locks, ok := blobstore.As[blobstore.Locks](a.cfg.Store)
	if !ok {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, a.cfg.RequestTimeout)
	defer cancel()
	mode, err := locks.LockMode(bounded)
	if ctx.Err() != nil {
		return
	}
	a.lock.change(func(l *locking) {
		l.read = true
		if err == nil {
			l.mode = mode
		}
	})
	const key = "lock"
	switch {
	case err == nil:
		a.troubleOver(ctx, retentionKind, key, "how the bucket locks backups is known again")
	case blobstore.Transient(err):
		a.cfg.Logger.WarnContext(ctx, "the bucket's object lock cannot be read now", "error", err)
	default:
		a.trouble(ctx, retentionKind, key, fmt.Sprintf("whether backups are to be locked cannot be found out, and they are not (%v): %s", err, lockAdvice))
	}
}

const lockAdvice = "give this instance s3:GetBucketObjectLockConfiguration, or add lock=off to the bucket's URL"

// lockFor is the lock of what is written now and lives for so long.
func (a *Agent) lockFor(life time.Duration) blobstore.Lock {
	return backup.LockFor(a.lock.current(), a.control.Time(), life)
}

// lockOrder completes an order with how the backup is to be locked.
func (a *Agent) lockOrder(ctx context.Context, o *backup.Order) {
	read := false
	a.lock.change(func(l *locking) { read = l.read })
	if !read {
		a.readLock(ctx)
	}
	mode, extended := a.lock.change(func(*locking) {})
	o.Lock, o.ExtendLocks = mode, extended < orderLife(*o)
}

// lockedOrder remembers for how long the locks of all packs last since a backup
// was written.
func (a *Agent) lockedOrder(o backup.Order) {
	if o.Lock != blobstore.NoLock {
		a.lock.change(func(l *locking) { l.extended = orderLife(o) })
	}
}

func orderLife(o backup.Order) time.Duration {
	return retention.Policy{Keep: o.Retention, Reuse: o.ReuseWindow}.PackLife()
}
