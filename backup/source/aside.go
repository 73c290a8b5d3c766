package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Leftover is state that was set aside and cannot be deleted.
type Leftover struct {
	Path   string // or a database's name
	Bytes  int64  // that it takes on disk; negative: not known
	Reason string
}

// asides are the names of what is set aside at one place: a prefix, and a
// number behind it. What has such a name is no part of any state, and only waits
// to be deleted. That something there cannot be deleted is in nobody's way: what
// comes later gets another number.
type asides string

// names lists what is set aside.
func (a asides) names() ([]string, error) {
	dir, err := os.Open(filepath.Dir(string(a)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	all, err := dir.Readdirnames(-1)
	var found []string
	for _, name := range all {
		rest, ok := strings.CutPrefix(name, filepath.Base(string(a)))
		if number, numbered := strings.CutPrefix(rest, "-"); ok && (rest == "" || numbered && isNumber(number)) {
			found = append(found, filepath.Join(filepath.Dir(string(a)), name))
		}
	}
	return found, err
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}

// add sets what is at path aside, if anything is. It is durable once the folder
// is synced.
func (a asides) add(path string) (bool, error) {
	for n := 1; ; n++ {
		to := string(a) + "-" + strconv.Itoa(n)
		taken, err := exists(to)
		if err != nil {
			return false, err
		}
		if taken {
			continue
		}
		if err := os.Rename(path, to); errors.Is(err, fs.ErrNotExist) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		return true, nil
	}
}

// addFiles sets the files that exist aside, in order, durably.
func (a asides) addFiles(paths ...string) error {
	for _, p := range paths {
		moved, err := a.add(p)
		if err == nil && moved {
			err = syncFolder(filepath.Dir(p))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sweep deletes what is set aside, as far as it can be deleted, and returns what
// is left.
func (a asides) sweep(ctx context.Context) ([]Leftover, error) {
	names, err := a.names()
	if err != nil || len(names) == 0 {
		return nil, err
	}
	var left []Leftover
	err = gently(ctx, func() error {
		for _, path := range names {
			l, err := deleteTree(ctx, path)
			if err != nil {
				return err
			}
			if l != nil {
				left = append(left, *l)
			}
		}
		return nil
	})
	return left, err
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

// deleteTree deletes what is at path. It returns what is left of it; nil for
// nothing.
func deleteTree(ctx context.Context, path string) (*Leftover, error) {
	in, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: filepath.Dir(path), Err: err}
	}
	defer unix.Close(in)
	var d deletion
	gone, err := d.remove(ctx, in, filepath.Base(path), path)
	if err != nil || gone {
		return nil, err
	}
	return &Leftover{Path: path, Bytes: d.bytes, Reason: d.why()}, nil
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
		return d.removeFolder(ctx, in, name, path)
	}
	if err := unix.Unlinkat(in, name, 0); err != nil && err != unix.ENOENT {
		d.failed(in, name, path, err)
		return false, nil
	}
	return true, nil
}

func (d *deletion) removeFolder(ctx context.Context, in int, name, path string) (gone bool, err error) {
	fd, failed := openOwn(in, name)
	if failed == unix.EACCES && unix.Fchmodat(in, name, 0o700, 0) == nil {
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
