package fsx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// What is here is reached by its path, so it is for folders of this agent alone: nobody
// else changes what a path leads to there.

// WriteFile makes the file at path anew (mode 0600) with what fill writes, synced.
// A file that failed is removed.
func WriteFile(path string, fill func(io.Writer) error) error {
	in, err := Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer in.Close()
	return in.Write(filepath.Base(path), func(f *os.File) error { return fill(f) })
}

// NewFile makes a new file in a folder with what fill writes, durably. Nothing may
// have the name.
func NewFile(in *Dir, name string, fill func(*os.File) error) error {
	f, err := in.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(in.Fill(f, fill), in.Sync())
}

// SyncDir makes the folder's entries durable.
func SyncDir(path string) error {
	d, err := Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// MoveFile renames a file within one folder, durably.
func MoveFile(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(to))
}

// ReplaceFile makes the file at path anew (mode 0600) with what fill writes, by way of
// another name: it appears at once, whole and durable.
func ReplaceFile(path string, fill func(io.Writer) error) error {
	part := path + ".part"
	if err := WriteFile(part, fill); err != nil {
		return err
	}
	return MoveFile(part, path)
}

// RemoveFiles removes the files that exist, in order, durably.
func RemoveFiles(paths ...string) error {
	for _, p := range paths {
		err := os.Remove(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := SyncDir(filepath.Dir(p)); err != nil {
			return err
		}
	}
	return nil
}

// Exists tells whether something is at path.
func Exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// MakeScratch makes a scratch folder that only this user can read, or makes one so
// that is there and open to others.
func MakeScratch(path string) error {
	err := os.MkdirAll(path, 0o700)
	if err == nil {
		err = closeToOthers(path)
	}
	if err != nil {
		return fmt.Errorf("make scratch folder: %w", err)
	}
	return nil
}

// closeToOthers takes a folder's permissions from everybody but its owner.
func closeToOthers(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&0o077 == 0 {
		return err
	}
	return unix.Fchmod(fd, st.Mode&0o700)
}

// IsDir tells whether what was looked at is a directory.
func IsDir(st unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }
