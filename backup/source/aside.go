package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// Leftover is state that was set aside and cannot be deleted.
type Leftover struct {
	Path   string // or a database's name
	Bytes  int64  // that it takes on disk; negative: not known
	Reason string
}

// asides are the names of what is set aside in one folder: a prefix, and a
// number behind it. What has such a name is no part of any state, and only waits
// to be deleted. That something there cannot be deleted is in nobody's way: what
// comes later gets another number.
type asides struct {
	in   *fsx.Dir // nil: it does not exist
	name string
}

// names lists what is set aside.
func (a asides) names() ([]string, error) {
	if a.in == nil {
		return nil, nil
	}
	all, err := a.in.Names()
	return slices.DeleteFunc(all, func(name string) bool {
		rest, ok := strings.CutPrefix(name, a.name)
		number, numbered := strings.CutPrefix(rest, "-")
		return !ok || rest != "" && !(numbered && isNumber(number))
	}), err
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}

// maxAsides bounds the search for a name that nothing has.
const maxAsides = 1 << 16

// add sets what has a name aside, whatever it is, if anything has it. It is durable
// once the folder is synced.
func (a asides) add(name string) (bool, error) {
	if a.in == nil {
		return false, nil
	}
	for n := 1; n < maxAsides; n++ {
		to := a.name + "-" + strconv.Itoa(n)
		if taken, err := a.in.Exists(to); err != nil {
			return false, err
		} else if taken {
			continue
		}
		switch err := a.in.RenameNew(name, a.in, to); {
		case errors.Is(err, fs.ErrExist):
		case errors.Is(err, fs.ErrNotExist):
			return false, nil
		default:
			return err == nil, err
		}
	}
	return false, fmt.Errorf("too much is set aside as %s: delete it", a.in.Path(a.name+"-*"))
}

// addFiles sets the files that exist aside, in order, durably.
func (a asides) addFiles(names ...string) error {
	for _, name := range names {
		moved, err := a.add(name)
		if err == nil && moved {
			err = a.in.Sync()
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
		for _, name := range names {
			l, err := deleteTree(ctx, a.in, name)
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

// deleteTree deletes what has a name. It returns what is left of it; nil for nothing.
func deleteTree(ctx context.Context, in *fsx.Dir, name string) (*Leftover, error) {
	return deleteIn(ctx, in.FD(), name, in.Path(name))
}

// deleteIn is deleteTree in an open folder. path is for people.
func deleteIn(ctx context.Context, in int, name, path string) (*Leftover, error) {
	var d deletion
	gone, err := d.remove(ctx, in, name, path)
	if err != nil || gone {
		return nil, err
	}
	return &Leftover{Path: path, Bytes: d.bytes, Reason: d.why()}, nil
}

// err says that something is left, where nothing may be.
func (l *Leftover) err() error {
	if l == nil {
		return nil
	}
	return errors.New(l.Reason)
}

// removeAll deletes what has a name, all of it, whatever happens.
func removeAll(ctx context.Context, in *fsx.Dir, name string) error {
	left, err := deleteTree(context.WithoutCancel(ctx), in, name)
	if err == nil {
		err = left.err()
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
	if failed == unix.EACCES && fsx.Chmod(in, name, 0o700) == nil {
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
