package fsx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Left is what could not be deleted.
type Left struct {
	Path   string
	Bytes  int64 // that it takes on disk
	Reason string
}

// deletion deletes a tree as far as that is possible: what cannot be deleted
// keeps the folders that it is in, and nothing else. It leaves other file
// systems that are mounted in the tree alone.
type deletion struct {
	entries int64 // that are left, folders above them not counted
	bytes   int64 // that these take
	path    string
	reason  error // why the first one is left
}

// DeleteTree deletes what has a name. It returns what is left of it; nil for nothing.
func DeleteTree(ctx context.Context, in *Dir, name string) (*Left, error) {
	return DeleteIn(ctx, in.FD(), name, in.Path(name))
}

// DeleteIn is DeleteTree in an open folder. path is for people.
func DeleteIn(ctx context.Context, in int, name, path string) (*Left, error) {
	var d deletion
	gone, err := d.remove(ctx, in, name, path)
	if err != nil || gone {
		return nil, err
	}
	return &Left{Path: path, Bytes: d.bytes, Reason: d.why()}, nil
}

// Err says that something is left, where nothing may be.
func (l *Left) Err() error {
	if l == nil {
		return nil
	}
	return errors.New(l.Reason)
}

// RemoveAll deletes what has a name, all of it, whatever happens.
func RemoveAll(ctx context.Context, in *Dir, name string) error {
	left, err := DeleteTree(context.WithoutCancel(ctx), in, name)
	if err == nil {
		err = left.Err()
	}
	return err
}

func (d *deletion) why() string {
	if d.entries > 1 {
		return fmt.Sprintf("%v (and %d more)", d.reason, d.entries-1)
	}
	return d.reason.Error()
}

// failed notes that something stays.
func (d *deletion) failed(in int, name, path string, err error) {
	if d.entries++; d.reason == nil {
		d.path, d.reason = path, &fs.PathError{Op: "delete", Path: path, Err: err}
	}
	var st unix.Stat_t
	if unix.Fstatat(in, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
		d.bytes += st.Blocks * 512
	}
}

// remove deletes one entry of the folder in, with all that is in it.
func (d *deletion) remove(ctx context.Context, in int, name, path string) (gone bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	var st unix.Stat_t
	switch err := unix.Fstatat(in, name, &st, unix.AT_SYMLINK_NOFOLLOW); {
	case err == unix.ENOENT:
		return true, nil
	case err != nil:
		d.failed(in, name, path, err)
		return false, nil
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return d.removeDir(ctx, in, name, path)
	}
	if err := unix.Unlinkat(in, name, 0); err != nil && err != unix.ENOENT {
		d.failed(in, name, path, err)
		return false, nil
	}
	return true, nil
}

func (d *deletion) removeDir(ctx context.Context, in int, name, path string) (gone bool, err error) {
	fd, failed := openOwn(in, name)
	if failed == unix.EACCES && Chmod(in, name, 0o700) == nil {
		fd, failed = openOwn(in, name)
	}
	if failed != nil {
		if failed == unix.EXDEV {
			failed = errors.New("a file system is mounted there")
		}
		d.failed(in, name, path, failed)
		return false, nil
	}
	f := os.NewFile(uintptr(fd), path)
	empty, err := d.empty(ctx, f, path)
	if err = errors.Join(err, f.Close()); err != nil || !empty {
		return false, err
	}
	if err := unix.Unlinkat(in, name, unix.AT_REMOVEDIR); err != nil && err != unix.ENOENT {
		d.failed(in, name, path, err)
		return false, nil
	}
	return true, nil
}

// empty deletes what is in an open folder. A folder from which much is deleted
// may show the rest only when it is read again.
func (d *deletion) empty(ctx context.Context, f *os.File, path string) (bool, error) {
	if os.Geteuid() != 0 {
		_ = unix.Fchmod(int(f.Fd()), 0o700) // what comes of it shows below
	}
	for {
		deleted, left := 0, 0
		if _, err := f.Seek(0, 0); err != nil {
			return false, err
		}
		for {
			names, err := f.Readdirnames(1024)
			for _, name := range names {
				gone, err := d.remove(ctx, int(f.Fd()), name, filepath.Join(path, name))
				if err != nil {
					return false, err
				}
				if gone {
					deleted++
				} else {
					left++
				}
			}
			if err != nil || len(names) == 0 {
				break
			}
		}
		if left > 0 || deleted == 0 {
			return left == 0, nil
		}
	}
}

// openOwn opens a folder in a folder, unless another file system is mounted
// there (EXDEV).
func openOwn(in int, name string) (int, error) {
	fd, err := unix.Openat2(in, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH,
	})
	if err != unix.ENOSYS && err != unix.EPERM { // before Linux 5.6, or kept from us
		return fd, err
	}
	var there, here unix.Stat_t
	if err := unix.Fstatat(in, name, &there, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return -1, err
	}
	if err := unix.Fstat(in, &here); err != nil {
		return -1, err
	}
	if there.Dev != here.Dev {
		return -1, unix.EXDEV
	}
	return unix.Openat(in, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}
