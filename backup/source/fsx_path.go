package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// writeFile makes the file at path anew (mode 0600) with what fill writes, synced.
// A file that failed is removed.
func writeFile(path string, fill func(io.Writer) error) error {
	in, err := fsx.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer in.Close()
	return in.Write(filepath.Base(path), func(f *os.File) error { return fill(f) })
}

// newFile makes a new file in a folder with what fill writes, durably. Nothing may
// have the name.
func newFile(in *fsx.Dir, name string, fill func(*os.File) error) error {
	f, err := in.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(in.Fill(f, fill), in.Sync())
}

// syncFolder makes the folder's entries durable.
func syncFolder(path string) error {
	d, err := fsx.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
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
