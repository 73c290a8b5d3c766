package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

// RunLocks checks the locks of a store in a bucket that has object lock. s is
// empty, and locks in a mode. mayBypass says whether its credentials may lift
// locks of the mode Governance.
func RunLocks(t *testing.T, s blobstore.Store, mode blobstore.LockMode, mayBypass bool) {
	l, ok := s.(blobstore.Locks)
	if !ok {
		t.Fatalf("%T has no locks", s)
	}
	if got, err := l.LockMode(t.Context()); err != nil || got != mode {
		t.Fatalf("mode %q, %v; want %q", got, err, mode)
	}
	lock := blobstore.Lock{Mode: mode, Until: time.Now().Add(time.Hour).Truncate(time.Second)}
	for key, cond := range map[string]blobstore.Condition{"packs/p": blobstore.Always, "backups/b": blobstore.IfAbsent()} {
		if _, err := s.Put(t.Context(), key, []byte("locked"), cond.Locked(lock)); err != nil {
			t.Fatalf("put %s: %v", key, err)
		}
		wantLock(t, l, key, lock)
		wantStays(t, l, key)
	}
	later := blobstore.Lock{Mode: mode, Until: lock.Until.Add(time.Hour)}
	if err := l.ExtendLock(t.Context(), "packs/p", later); err != nil {
		t.Errorf("extend: %v", err)
	}
	wantLock(t, l, "packs/p", later)
	testOverLocked(t, s, lock)
	// What is not to be locked is not.
	put(t, s, "head.json", "x")
	wantLock(t, l, "head.json", blobstore.Lock{})
	if err := l.DeleteVersion(t.Context(), "head.json", versionIDs(t, l, "head.json")[0], false); err != nil {
		t.Errorf("delete a version that is not locked: %v", err)
	}
	ids := versionIDs(t, l, "packs/p")
	id := ids[len(ids)-1] // the one that is locked
	if err := l.DeleteVersion(t.Context(), "packs/p", id, true); (err == nil) != mayBypass {
		t.Errorf("bypass of a lock in mode %s: %v", mode, err)
	}
}

// testOverLocked does what is done all day over and beside locked versions.
func testOverLocked(t *testing.T, s blobstore.Store, lock blobstore.Lock) {
	t.Helper()
	if _, err := s.Put(t.Context(), "backups/b", []byte("other"), blobstore.IfAbsent().Locked(lock)); !errors.Is(err, blobstore.ErrPrecondition) {
		t.Errorf("create what is there: %v", err)
	}
	attrs := put(t, s, "packs/p", "locked") // the same again, young once more
	if attrs.Size != 6 {
		t.Errorf("put again: %+v", attrs)
	}
	for range 2 { // a delete marker covers it, and another one
		if err := s.Delete(t.Context(), "backups/b"); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	_, err := s.Stat(t.Context(), "backups/b")
	wantKind(t, "stat what was deleted", err, blobstore.ErrNotFound)
	_, err = s.(blobstore.Locks).LockOf(t.Context(), "backups/b")
	wantKind(t, "lock of what was deleted", err, blobstore.ErrNotFound)
	if _, err := s.Put(t.Context(), "backups/b", []byte("again"), blobstore.IfAbsent().Locked(lock)); err != nil {
		t.Errorf("create over a delete marker over a locked version: %v", err)
	}
}

func wantLock(t *testing.T, l blobstore.Locks, key string, want blobstore.Lock) {
	t.Helper()
	if got, err := l.LockOf(t.Context(), key); err != nil || got.Mode != want.Mode || !got.Until.Equal(want.Until) {
		t.Errorf("lock of %s is %+v, %v; want %+v", key, got, err, want)
	}
}

// wantStays checks that the current version of a blob cannot be deleted.
func wantStays(t *testing.T, l blobstore.Locks, key string) {
	t.Helper()
	err := l.DeleteVersion(t.Context(), key, versionIDs(t, l, key)[0], false)
	if !errors.Is(err, blobstore.ErrDenied) && !errors.Is(err, blobstore.ErrInvalid) {
		t.Errorf("delete a locked version of %s: %v", key, err)
	}
	if got := len(versionIDs(t, l, key)); got != 1 {
		t.Errorf("%s has %d versions, want one", key, got)
	}
}

func versionIDs(t *testing.T, l blobstore.Locks, key string) (ids []string) {
	t.Helper()
	for v, err := range blobstore.VersionsOf(t.Context(), l, key) {
		if err != nil {
			t.Fatalf("list versions of %s: %v", key, err)
		}
		if !v.Deleted {
			ids = append(ids, v.ID)
		}
	}
	return ids
}

// RunDefaultLock checks that the rule of a bucket with object lock is read by which
// it locks what is written without a lock. There is none yet; set makes one of the
// mode Governance, for so many days or years.
func RunDefaultLock(t *testing.T, s blobstore.Store, set func(n uint, years bool) error) {
	l, ok := s.(blobstore.DefaultLock)
	if !ok {
		t.Fatalf("%T reads no default lock", s)
	}
	want := func(mode blobstore.LockMode, length time.Duration) {
		t.Helper()
		if got, long, err := l.DefaultLock(t.Context()); err != nil || got != mode || long != length {
			t.Errorf("default lock %q for %v, %v; want %q for %v", got, long, err, mode, length)
		}
	}
	want(blobstore.NoLock, 0)
	const n, day = 2, 24 * time.Hour
	for years, each := range map[bool]time.Duration{false: day, true: 365 * day} {
		if err := set(n, years); err != nil {
			t.Fatal(err)
		}
		want(blobstore.Governance, n*each)
	}
}
