package upkeep

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
)

// Locks knows how backups are locked in this bucket, as last read. It is safe for
// concurrent use.
type Locks struct {
	host Host

	mu       sync.Mutex
	read     bool // whether the bucket was asked, with an answer or without
	mode     blobstore.LockMode
	extended time.Duration // the life of packs for which their locks were extended
}

// NewLocks is asked of the bucket by Read, or with the first backup.
func NewLocks(h Host) *Locks { return &Locks{host: h} }

// change does something to it, and returns what it is then.
func (l *Locks) change(do func(*Locks)) (mode blobstore.LockMode, extended time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do(l)
	return l.mode, l.extended
}

// Mode is how backups are locked.
func (l *Locks) Mode() blobstore.LockMode {
	mode, _ := l.change(func(*Locks) {})
	return mode
}

// Read asks the bucket how backups are to be locked. While it does not say
// what it said last counts; that it never did is a trouble.
func (l *Locks) Read(ctx context.Context) {
	locks, ok := blobstore.As[blobstore.Locks](l.host.Store)
	if !ok {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, l.host.Timeout)
	defer cancel()
	mode, err := locks.LockMode(bounded)
	if ctx.Err() != nil {
		return
	}
	l.change(func(l *Locks) {
		l.read = true
		if err == nil {
			l.mode = mode
		}
	})
	const key = "lock"
	switch {
	case err == nil:
		l.host.Log.TroubleOver(ctx, RetentionKind, key, "how the bucket locks backups is known again")
	case blobstore.Transient(err):
		l.host.Logger.WarnContext(ctx, "the bucket's object lock cannot be read now", "error", err)
	default:
		l.host.Log.Trouble(ctx, RetentionKind, key, fmt.Sprintf("whether backups are to be locked cannot be found out, and they are not (%v): %s", err, lockAdvice))
	}
}

const lockAdvice = "give this instance s3:GetBucketObjectLockConfiguration, or add lock=off to the bucket's URL"

// For is the lock of what is written now and lives for so long.
func (l *Locks) For(life time.Duration) blobstore.Lock {
	return blobstore.LockFor(l.Mode(), l.host.Control.Time(), life)
}

// Complete completes an order with how the backup is to be locked.
func (l *Locks) Complete(ctx context.Context, o *backup.Order) {
	read := false
	l.change(func(l *Locks) { read = l.read })
	if !read {
		l.Read(ctx)
	}
	mode, extended := l.change(func(*Locks) {})
	o.Lock, o.ExtendLocks = mode, extended < orderLife(*o)
}

// Written remembers for how long the locks of all packs last since a backup
// was written.
func (l *Locks) Written(o backup.Order) {
	if o.Lock != blobstore.NoLock {
		l.change(func(l *Locks) { l.extended = orderLife(o) })
	}
}

func orderLife(o backup.Order) time.Duration {
	return retention.Policy{Keep: o.Retention, Reuse: o.ReuseWindow}.PackLife()
}
