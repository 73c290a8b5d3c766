package filestore

import (
	"context"
	"os"
	"path/filepath"
)

// Delete implements blobstore.Store. Folders that it leaves empty go too.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := admit(ctx, "delete", key); err != nil {
		return err
	}
	path := s.path(key)
	if !isFile(path) {
		return nil // do not create a lock file only to find nothing
	}
	release, err := s.lock.acquire(ctx)
	if err != nil {
		return translate("delete", key, err)
	}
	defer release()
	if !isFile(path) {
		return nil
	}
	if err := os.Remove(path); err != nil {
		return translate("delete", key, err)
	}
	if err := syncDir(s.prune(filepath.Dir(path))); err != nil {
		return translate("delete", key, err)
	}
	return nil
}

// prune removes folders that have become empty, from the given one upwards,
// and returns the lowest that stays. The caller holds the lock, so that no
// writer has just made one of them.
func (s *Store) prune(folder string) string {
	for folder != s.dir && os.Remove(folder) == nil {
		delete(s.synced, folder)
		folder = filepath.Dir(folder)
	}
	return folder
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
