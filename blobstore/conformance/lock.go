package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

// lockTrial is for how long the version stays locked with which a lock is
// proved.
const lockTrial = 2 * time.Minute

const objectLock = "object-lock"

// Lock proves that the bucket keeps locked versions: it locks one for two
// minutes, and tries to delete it. It reports false where the store has no such
// thing.
func Lock(ctx context.Context, c Config) (Check, bool) {
	locks, ok := blobstore.As[blobstore.Locks](c.Store)
	if !ok {
		return Check{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, fullTimeout)
	defer cancel()
	t := test{objectLock, "a locked version cannot be deleted", func(ctx context.Context, s *scratch) (finding, error) {
		return (&lockTest{scratch: s, locks: locks}).run(ctx)
	}}
	s, err := newScratch(c.Store, c.Random)
	if err != nil {
		return Check{Name: t.name, Promise: t.promise}.judge(finding{}, err), true
	}
	check := t.check(ctx, s)
	if _, err := s.clean(ctx); err != nil && check.Outcome == OK {
		check.Detail += fmt.Sprintf("; what was written cannot be removed: %v", err)
	}
	return check, true
}

type lockTest struct {
	*scratch
	locks blobstore.Locks
	mode  blobstore.LockMode
	key   string
	body  []byte
	id    string // of the locked version
}

func (l *lockTest) run(ctx context.Context) (finding, error) {
	mode, err := l.locks.LockMode(ctx)
	switch {
	case errors.Is(err, blobstore.ErrDenied):
		return finding{}, doubtf("whether the bucket locks objects cannot be read, and backups are not locked: s3:GetBucketObjectLockConfiguration is needed (%v)", err)
	case err != nil:
		return finding{}, err
	case mode == blobstore.NoLock:
		return saw("the bucket has no object lock, or it is off (lock=off): who has these credentials can delete backups for good, as far as the policy lets them")
	}
	l.mode, l.key = mode, l.scratch.key("locked")
	if err := l.write(ctx); err != nil {
		return finding{}, err
	}
	if err := l.stays(ctx); err != nil {
		return finding{}, err
	}
	return l.hidden(ctx)
}

// write writes a locked version, and looks whether the store says that it is.
func (l *lockTest) write(ctx context.Context) error {
	l.body = l.scratch.body(l.key)
	now, err := l.put(ctx, l.scratch.key("clock"), l.scratch.body("clock"), blobstore.Always)
	if err != nil {
		return err
	}
	lock := blobstore.Lock{Mode: l.mode, Until: now.Time.Add(lockTrial).Truncate(time.Second)}
	if _, err := l.put(ctx, l.key, l.body, blobstore.IfAbsent().Locked(lock)); errors.Is(err, blobstore.ErrDenied) {
		return &explainedError{"a locked object cannot be written, and no backup can: s3:PutObjectRetention is needed, or lock=off in the bucket's URL: " + err.Error(), err}
	} else if err != nil {
		return err
	}
	got, err := l.locks.LockOf(ctx, l.key)
	switch {
	case errors.Is(err, blobstore.ErrDenied):
		return doubtf("a lock cannot be read, nor extended for a longer retention: s3:GetObjectRetention is needed (%v)", err)
	case err != nil:
		return err
	case got.Mode != l.mode || got.Until.Before(lock.Until):
		return brokenf("the store took an object that was to be locked (%s until %s), and says that it is locked %q until %s", l.mode, lock.Until, got.Mode, got.Until)
	}
	return nil
}

// stays tries to delete the locked version.
func (l *lockTest) stays(ctx context.Context) error {
	for v, err := range blobstore.VersionsOf(ctx, l.locks, l.key) {
		if errors.Is(err, blobstore.ErrDenied) {
			return doubtf("earlier versions cannot be listed, nor read back: s3:ListBucketVersions is needed (%v)", err)
		}
		if err != nil {
			return err
		}
		l.id = v.ID
		break
	}
	if err := l.refuses(ctx, false); err != nil {
		return err
	}
	if err := l.refuses(ctx, true); err != nil {
		if l.mode == blobstore.Governance {
			return doubtf("the bucket locks objects (%s), and these credentials may lift a lock: take s3:BypassGovernanceRetention from them, or use lock=compliance", l.mode)
		}
		return err
	}
	return nil
}

// refuses expects the version not to be deleted.
func (l *lockTest) refuses(ctx context.Context, bypass bool) error {
	err := l.locks.DeleteVersion(ctx, l.key, l.id, bypass)
	if err == nil {
		return brokenf("a version that is locked (%s) was deleted: the bucket does not keep what it promises", l.mode)
	}
	if !errors.Is(err, blobstore.ErrDenied) && !errors.Is(err, blobstore.ErrInvalid) {
		return err
	}
	return nil
}

// hidden deletes the object as everybody may, and reads it all the same.
func (l *lockTest) hidden(ctx context.Context) (finding, error) {
	if err := l.store.Delete(ctx, l.key); err != nil && !errors.Is(err, blobstore.ErrDenied) {
		return finding{}, err
	}
	body, _, err := l.locks.GetVersion(ctx, l.key, l.id, blobstore.GetOptions{})
	if errors.Is(err, blobstore.ErrDenied) {
		return finding{}, doubtf("earlier versions cannot be read: s3:GetObjectVersion is needed (%v)", err)
	}
	if err != nil {
		return finding{}, err
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if err != nil {
		return finding{}, err
	}
	if string(got) != string(l.body) {
		return finding{}, brokenf("a locked version reads otherwise than it was written")
	}
	return saw("the bucket locks objects (%s): a locked version was not deleted. Deleting the object without naming a version only hides it behind a delete marker, and restore --as-of still reads it", l.mode)
}
