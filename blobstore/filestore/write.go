package filestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/understudy-ha/understudy/blobstore"
)

// Put implements blobstore.Store. It fails with ErrUnknownOutcome only when
// the new version is in place but may not survive a power cut.
func (s *Store) Put(ctx context.Context, key string, body []byte, cond blobstore.Condition) (blobstore.Attrs, error) {
	if err := admit(ctx, "put", key); err != nil {
		return blobstore.Attrs{}, err
	}
	temp, err := s.writeTemp(ctx, body)
	if err != nil {
		return blobstore.Attrs{}, translate("put", key, err)
	}
	defer temp.discard()
	release, err := s.lock.acquire(ctx)
	if err != nil {
		return blobstore.Attrs{}, translate("put", key, err)
	}
	defer release()
	if err := s.allow(key, cond); err != nil {
		return blobstore.Attrs{}, err
	}
	attrs, err := s.seal(temp, key)
	if err != nil {
		return blobstore.Attrs{}, translate("put", key, err)
	}
	if err := ctx.Err(); err != nil { // the last moment at which nothing has happened
		return blobstore.Attrs{}, translate("put", key, err)
	}
	if err := s.land(temp, key); err != nil {
		return blobstore.Attrs{}, err
	}
	if err := s.syncParents(key); err != nil {
		kind := kindOf(err)
		if cond.Conditional() {
			kind = blobstore.ErrUnknownOutcome
		}
		return blobstore.Attrs{}, fail("put", key, kind, err)
	}
	s.step("synced")
	return attrs, nil
}

// allow checks the condition of a write. The caller holds the lock.
func (s *Store) allow(key string, cond blobstore.Condition) error {
	if !cond.Conditional() {
		return nil
	}
	attrs, err := s.stat("put", key)
	found := err == nil
	if err != nil && !errors.Is(err, blobstore.ErrNotFound) {
		return err
	}
	if cond.Absent() && found || cond.Match() != "" && (!found || cond.Match() != attrs.Token) {
		return fail("put", key, blobstore.ErrPrecondition, nil)
	}
	return nil
}

// seal gives the temporary file its stamp and makes it durable. The caller
// holds the lock.
func (s *Store) seal(temp *tempFile, key string) (blobstore.Attrs, error) {
	stamp, err := s.lock.stamp(s.now())
	if err != nil {
		return blobstore.Attrs{}, err
	}
	if err := os.Chtimes(temp.file.Name(), stamp, stamp); err != nil {
		return blobstore.Attrs{}, fmt.Errorf("stamp %s: %w", key, err)
	}
	info, err := temp.file.Stat()
	if err != nil {
		return blobstore.Attrs{}, fmt.Errorf("read stamp of %s: %w", key, err)
	}
	if !info.ModTime().Equal(stamp) {
		return blobstore.Attrs{}, fmt.Errorf("stamp %s: %w", key, errCoarse)
	}
	if err := temp.file.Sync(); err != nil {
		return blobstore.Attrs{}, fmt.Errorf("flush %s: %w", key, err)
	}
	s.step("sealed")
	return attrsOf(key, info), nil
}

// land moves the temporary file to its place, in one step. The caller holds
// the lock.
func (s *Store) land(temp *tempFile, key string) error {
	path := s.path(key)
	if err := os.MkdirAll(filepath.Dir(path), dirPerm); err != nil {
		if errors.Is(err, syscall.ENOTDIR) {
			return fail("put", key, blobstore.ErrInvalid, fmt.Errorf("a part of the key before a slash is itself a blob: %w", err))
		}
		return translate("put", key, err)
	}
	s.step("parents")
	err := os.Rename(temp.file.Name(), path)
	if info, statErr := os.Stat(path); err != nil && statErr == nil && info.IsDir() {
		// A crash may have left an empty folder where blobs have been.
		if os.Remove(path) != nil {
			return fail("put", key, blobstore.ErrInvalid, errors.New("other keys go on after this one with a slash"))
		}
		err = os.Rename(temp.file.Name(), path)
	}
	if err != nil {
		return translate("put", key, err)
	}
	temp.landed = true
	s.step("landed")
	return nil
}

// syncParents makes the blob's name durable, and the names of those of its
// folders which this process has not made durable before: whoever created
// them may have died before it could. The caller holds the lock.
func (s *Store) syncParents(key string) error {
	folder := filepath.Dir(s.path(key))
	if err := syncDir(folder); err != nil {
		return err
	}
	for within := true; !s.synced[folder] && folder != filepath.Dir(folder); folder = filepath.Dir(folder) {
		err := syncDir(filepath.Dir(folder))
		within = within && folder != s.dir
		if err != nil && within {
			return err
		}
		// Above the store are folders that others made, and may keep shut.
		s.synced[folder] = true
	}
	return nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("flush folder: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("flush folder %s: %w", path, err)
	}
	return nil
}
