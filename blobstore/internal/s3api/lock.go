package s3api

import (
	"errors"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

const (
	// NoLockConfig says that a bucket cannot lock objects.
	NoLockConfig = "ObjectLockConfigurationNotFoundError"
	// NoLock says that an object is not locked.
	NoLock = "NoSuchObjectLockConfiguration"
	// DeleteMarker refuses to tell of the lock of what was deleted.
	DeleteMarker = "MethodNotAllowed"
)

// LockSetting is what a URL says about object lock.
type LockSetting struct {
	off  bool
	mode blobstore.LockMode // NoLock: as the bucket says
}

// ParseLock reads the URL's parameter lock; "" is auto.
func ParseLock(value string) (LockSetting, error) {
	switch value {
	case "", "auto":
		return LockSetting{}, nil
	case "off":
		return LockSetting{off: true}, nil
	case "governance":
		return LockSetting{mode: blobstore.Governance}, nil
	case "compliance":
		return LockSetting{mode: blobstore.Compliance}, nil
	}
	return LockSetting{}, errors.New("the parameter lock is none of auto, compliance, governance and off")
}

// DefaultLockOf is how long a bucket's default retention of days and years is.
func DefaultLockOf(days, years int) time.Duration {
	return time.Duration(days+365*years) * 24 * time.Hour
}

// Off reports whether nothing is to be locked, whatever the bucket can.
func (s LockSetting) Off() bool { return s.off }

// Mode is how versions are to be locked, given whether the bucket can, and the
// mode of its own default retention, if it has one. A bucket that can lock was
// made so on purpose, so that it does: in a mode that leaked credentials cannot
// lift, unless somebody says otherwise.
func (s LockSetting) Mode(enabled bool, own string) (blobstore.LockMode, error) {
	switch {
	case !enabled && s.mode != blobstore.NoLock:
		return blobstore.NoLock, &blobstore.Error{Op: "read object lock", Kind: blobstore.ErrInvalid,
			Err: errors.New("the URL asks for object lock, and the bucket has none: it is turned on when a bucket is made")}
	case !enabled || s.off:
		return blobstore.NoLock, nil
	case s.mode != blobstore.NoLock:
		return s.mode, nil
	case own == string(blobstore.Governance):
		return blobstore.Governance, nil
	}
	return blobstore.Compliance, nil
}
