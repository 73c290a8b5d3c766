package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/understudy-ha/understudy/backup/pack"
)

// copyStream writes all of s to w, and fails unless it is as long as it claims.
func copyStream(ctx context.Context, r chunkReader, s pack.Stream, w io.Writer) (err error) {
	in := r.Open(ctx, s)
	defer func() { err = errors.Join(err, in.Close()) }()
	n, err := io.Copy(w, in)
	if err != nil {
		return err
	}
	if n != s.Size {
		return fmt.Errorf("stream has %d bytes instead of %d", n, s.Size)
	}
	return nil
}

// streamToFile writes s to a new file at path, durably but for the folder's
// entry; flag is os.O_EXCL to refuse an existing file, os.O_TRUNC to replace it.
func streamToFile(ctx context.Context, r chunkReader, s pack.Stream, path string, flag int) error {
	return writeFile(path, flag, func(w io.Writer) error { return copyStream(ctx, r, s, w) })
}

// writeFile makes the file at path (mode 0600) with what fill writes, synced.
// A file that failed is removed.
func writeFile(path string, flag int, fill func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|flag, 0o600)
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path)
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// syncFolder makes the folder's entries durable.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	return nil
}

// moveFile renames a file within one folder, durably.
func moveFile(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(to))
}

// removeFiles removes the files that exist, in order, durably.
func removeFiles(paths ...string) error {
	for _, p := range paths {
		err := os.Remove(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := syncFolder(filepath.Dir(p)); err != nil {
			return err
		}
	}
	return nil
}

// exists tells whether something is at path.
func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// makeScratch makes a scratch folder that only this user can read.
func makeScratch(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("make scratch folder: %w", err)
	}
	return nil
}
