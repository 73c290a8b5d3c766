package blobstore

import (
	"context"
	"time"
)

// LockMode is how a store keeps versions from being deleted or overwritten.
type LockMode string

// Modes of a lock.
const (
	NoLock     LockMode = ""
	Governance LockMode = "GOVERNANCE" // who has a permission of its own can lift it
	Compliance LockMode = "COMPLIANCE" // nobody can
)

// Lock keeps a version from being deleted until a time by the store's clock.
// The zero value keeps nothing.
type Lock struct {
	Mode  LockMode
	Until time.Time
}

// LockFor is the lock of what is written at a time by the store's clock, and
// lives for so long. It ends on a whole second, as stores keep it.
func LockFor(mode LockMode, now time.Time, life time.Duration) Lock {
	return Lock{Mode: mode, Until: now.Add(life + time.Second).UTC().Truncate(time.Second)}
}

// Locked is the condition for a write whose version is locked from the start.
// It is for stores that are Locks, and whose LockMode is that of the lock; other
// stores ignore it.
func (c Condition) Locked(l Lock) Condition {
	if l.Mode != NoLock {
		c.lock = l
	}
	return c
}

// Lock returns the lock of what is written; zero for none.
func (c Condition) Lock() Lock { return c.lock }

// DefaultLock is what a provider has whose buckets may lock what is written without
// a lock of its own.
type DefaultLock interface {
	// DefaultLock reads for how long, and how; zero: the bucket has no such rule.
	DefaultLock(ctx context.Context) (LockMode, time.Duration, error)
}

// Locks is what a provider has whose buckets can lock versions.
type Locks interface {
	Versions
	// LockMode reports how versions are to be locked in this bucket; NoLock
	// where it cannot, or is not to.
	LockMode(ctx context.Context) (LockMode, error)
	// LockOf reads the lock of a blob's current version.
	LockOf(ctx context.Context, key string) (Lock, error)
	// ExtendLock makes the lock of a blob's current version end later.
	ExtendLock(ctx context.Context, key string, l Lock) error
	// DeleteVersion deletes one version for good. With bypass it asks for a lock
	// of the mode Governance to be lifted. A locked one is ErrDenied or
	// ErrInvalid, as the store likes.
	DeleteVersion(ctx context.Context, key, id string, bypass bool) error
}
