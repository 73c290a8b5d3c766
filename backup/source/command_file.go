package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

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
// entry; flag is os.O_EXCL to refuse an existing file, os.O_TRUNC to put the new
// one in its place.
func streamToFile(ctx context.Context, r chunkReader, s pack.Stream, path string, flag int) error {
	return writeFile(path, flag, func(w io.Writer) error { return copyStream(ctx, r, s, w) })
}

// writeFile makes the file at path (mode 0600) with what fill writes, synced.
// A file that failed is removed.
func writeFile(path string, flag int, fill func(io.Writer) error) error {
	f, err := makeFile(path, flag)
	if err != nil {
		return err
	}
	return finishFile(f, func(f *os.File) error { return fill(f) })
}

// writeNew is writeFile in the place of another file, by whatever fill does with
// the open file.
func writeNew(path string, fill func(*os.File) error) error {
	f, err := makeFile(path, os.O_TRUNC)
	if err != nil {
		return err
	}
	return finishFile(f, fill)
}

func finishFile(f *os.File, fill func(*os.File) error) error {
	err := fill(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", f.Name(), err)
	}
	return nil
}

// makeFile makes a new file (mode 0600) at path, to be read and written. What had
// the name before is removed and never written to: whoever may write to the
// folder could have put a link to something else there.
func makeFile(path string, flag int) (*os.File, error) {
	const tries = 3
	for try := 1; ; try++ {
		if flag&os.O_TRUNC != 0 {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
		if err == nil || try == tries || flag&os.O_TRUNC == 0 || !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
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
