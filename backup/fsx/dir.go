package fsx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Dir is a held folder. What is done in it is done in this very folder, wherever its
// path leads by now. Names are single names, and none is followed if it is a
// link.
type Dir struct {
	f    *os.File
	path string
}

const (
	dirFlags  = unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fileFlags = unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC // not to hang at a fifo
)

func newDir(fd int, path string) *Dir { return &Dir{os.NewFile(uintptr(fd), path), path} }

// Open holds the folder at path, which nobody else may change on the way: one of
// this agent's own.
func Open(path string) (*Dir, error) {
	fd, err := open(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return newDir(fd, path), nil
}

// FD is the descriptor.
func (d *Dir) FD() int { return int(d.f.Fd()) }

// Path is where the folder was when it was opened, with names below it: for
// people.
func (d *Dir) Path(names ...string) string {
	return filepath.Join(append([]string{d.path}, names...)...)
}

// Held names what has a name in the folder to whoever takes nothing but a path.
func (d *Dir) Held(name string) string { return heldPrefix + strconv.Itoa(d.FD()) + "/" + name }

const heldPrefix = "/proc/self/fd/"

// Close lets go of the folder. It may be called again.
func (d *Dir) Close() {
	if d != nil {
		_ = d.f.Close() // it was not written to
	}
}

func (d *Dir) failed(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: d.Path(name), Err: err}
}

// Stat looks at what has a name, which may be a link. Nothing is no error: there
// is then no mode.
func (d *Dir) Stat(name string) (st unix.Stat_t, err error) {
	err = retry(func() error { return unix.Fstatat(d.FD(), name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err == unix.ENOENT {
		return unix.Stat_t{}, nil
	}
	return st, d.failed("stat", name, err)
}

// Exists tells whether something has the name.
func (d *Dir) Exists(name string) (bool, error) {
	st, err := d.Stat(name)
	return st.Mode != 0, err
}

// Self looks at the folder itself.
func (d *Dir) Self() (st unix.Stat_t, err error) {
	return st, d.failed("stat", "", unix.Fstat(d.FD(), &st))
}

// Is tells whether the name leads to an open file or folder.
func (d *Dir) Is(name string, fd int) (bool, error) {
	there, err := d.Stat(name)
	if err != nil {
		return false, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, d.failed("stat", name, err)
	}
	return there.Dev == st.Dev && there.Ino == st.Ino && there.Mode != 0, nil
}

// Still fails unless the name leads to an open file or folder, which was given it
// just now.
func (d *Dir) Still(name string, fd int) error {
	same, err := d.Is(name, fd)
	if err == nil && !same {
		err = fmt.Errorf("%s: %w", d.Path(name), ErrReplaced)
	}
	return err
}

// OpenDir holds a directory in the directory.
func (d *Dir) OpenDir(name string) (*Dir, error) {
	fd, err := open(d.FD(), name, unix.O_RDONLY|dirFlags, 0)
	if err != nil {
		return nil, d.failed("open", name, err)
	}
	return newDir(fd, d.Path(name)), nil
}

// Down holds the folder with a path of several names below this one.
func (d *Dir) Down(path string) (*Dir, error) {
	fd, err := Beneath(d.FD(), path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, d.failed("open", path, err)
	}
	return newDir(fd, d.Path(path)), nil
}

// Make makes a folder that is this process's alone, and holds it.
func (d *Dir) Make(name string) (*Dir, error) {
	fd, err := MakeIn(d.FD(), name)
	if err != nil {
		return nil, d.failed("make folder", name, err)
	}
	return newDir(fd, d.Path(name)), nil
}

// ErrReplaced says that what was made just now is something else already.
var ErrReplaced = errors.New("somebody has put something else in its place")

// MakeIn makes a folder that is this process's alone in an open one, and opens it.
func MakeIn(in int, name string) (int, error) {
	if err := unix.Mkdirat(in, name, 0o700); err != nil {
		return -1, err
	}
	fd, err := open(in, name, unix.O_RDONLY|dirFlags, 0)
	if err == unix.ELOOP || err == unix.ENOTDIR || err == unix.ENOENT {
		return -1, ErrReplaced
	}
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && !own(fd, &st) {
		err = ErrReplaced
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

const othersWrite = 0o022

// own tells whether something belongs to this process's user, and nobody else may
// write to it. Some file systems give all that is made in a folder to somebody else:
// vfat, or NFS for root. There this tells no more than that nothing is special.
func own(folder int, st *unix.Stat_t) bool {
	if int(st.Uid) == os.Geteuid() && st.Mode&othersWrite == 0 {
		return true
	}
	const probe = ".understudy-owner"
	fd, err := open(folder, probe, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return false
	}
	var made unix.Stat_t
	err = errors.Join(unix.Fstat(fd, &made), unix.Close(fd), unix.Unlinkat(folder, probe, 0))
	forced := int(made.Uid) != os.Geteuid() || made.Mode&othersWrite != 0
	return err == nil && forced && st.Uid == made.Uid && st.Mode&othersWrite == made.Mode&othersWrite
}

// Own tells whether the folder belongs to this process's user alone: nobody else
// can have put anything into it.
func (d *Dir) Own() (bool, error) {
	own, err := Own(d.FD())
	return own, d.failed("stat", "", err)
}

// Own tells whether an open folder belongs to this process's user alone.
func Own(fd int) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return err == nil && own(fd, &st), err
}

// Open opens a regular file. It never waits.
func (d *Dir) Open(name string, flags int) (*os.File, error) {
	fd, err := OpenIn(d.FD(), name, flags)
	if err != nil {
		return nil, d.failed("open", name, err)
	}
	return os.NewFile(uintptr(fd), d.Path(name)), nil
}

// ErrNotFile says that a name leads to something else than a regular file.
var ErrNotFile = errors.New("not a regular file")

// OpenIn opens a regular file in an open folder. It never waits.
func OpenIn(in int, name string, flags int) (int, error) {
	fd, err := open(in, name, flags|fileFlags, 0)
	if err == unix.ELOOP || err == unix.ENXIO { // a link; a fifo or a socket
		return -1, ErrNotFile
	}
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = ErrNotFile
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Create makes a new file (mode 0600), to be read and written. Nothing may have the
// name.
func (d *Dir) Create(name string) (*os.File, error) {
	fd, err := open(d.FD(), name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, d.failed("make", name, err)
	}
	return os.NewFile(uintptr(fd), d.Path(name)), nil
}

// Anew is Create in the place of what has the name, which is removed and never
// written to.
func (d *Dir) Anew(name string) (*os.File, error) {
	const tries = 3
	for try := 1; ; try++ {
		if err := d.Remove(name); err != nil {
			return nil, err
		}
		f, err := d.Create(name)
		if err == nil || try == tries || !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

// Write makes a file anew with what fill writes to it, synced; the folder is not. A
// file that failed is removed.
func (d *Dir) Write(name string, fill func(*os.File) error) error {
	f, err := d.Anew(name)
	if err != nil {
		return err
	}
	return d.Fill(f, fill)
}

// Fill fills a new file of the folder, and syncs it. One that failed is removed.
func (d *Dir) Fill(f *os.File, fill func(*os.File) error) error {
	err := fill(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = d.Remove(filepath.Base(f.Name())) // what went wrong before counts
		return fmt.Errorf("write %s: %w", f.Name(), err)
	}
	return nil
}

// Replace replaces a file at once and durably, by way of another name.
func (d *Dir) Replace(name string, data []byte, mode fs.FileMode) error {
	part := "." + strings.TrimPrefix(name, ".") + ".part"
	err := d.Write(part, func(f *os.File) error {
		if _, err := f.Write(data); err != nil {
			return err
		}
		return f.Chmod(mode)
	})
	if err != nil {
		return err
	}
	return d.Move(part, name)
}

// ReadOwn reads a file that this process's user has written, and that is no larger
// than a bound. None is fs.ErrNotExist.
func (d *Dir) ReadOwn(name string, most int64) ([]byte, error) {
	f, err := d.Open(name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, d.failed("stat", name, err)
	}
	switch {
	case !own(d.FD(), &st):
		return nil, fmt.Errorf("%s was not written by this agent: remove it", d.Path(name))
	case st.Size > most:
		return nil, fmt.Errorf("%s is too large: remove it", d.Path(name))
	}
	return io.ReadAll(io.LimitReader(f, most))
}

// Remove removes a file, if there is one.
func (d *Dir) Remove(name string) error {
	err := unix.Unlinkat(d.FD(), name, 0)
	if err == unix.ENOENT {
		return nil
	}
	return d.failed("remove", name, err)
}

// RemoveDir removes an empty folder.
func (d *Dir) RemoveDir(name string) error {
	return d.failed("remove", name, unix.Unlinkat(d.FD(), name, unix.AT_REMOVEDIR))
}

// Rename renames within the folder. A file may take another one's place.
func (d *Dir) Rename(from, to string) error {
	return d.renamed(from, d, to, unix.Renameat(d.FD(), from, d.FD(), to))
}

// Move is Rename, durably.
func (d *Dir) Move(from, to string) error {
	if err := d.Rename(from, to); err != nil {
		return err
	}
	return d.Sync()
}

// RenameNew renames to a name, perhaps in another folder, that nothing has; if
// something has it that is fs.ErrExist.
func (d *Dir) RenameNew(from string, in *Dir, to string) error {
	err := unix.Renameat2(d.FD(), from, in.FD(), to, unix.RENAME_NOREPLACE)
	if Unsupported(err) {
		there, failed := in.Exists(to)
		switch {
		case failed != nil:
			return failed
		case there:
			err = unix.EEXIST
		default:
			err = unix.Renameat(d.FD(), from, in.FD(), to)
		}
	}
	return d.renamed(from, in, to, err)
}

// Exchange gives each of two names what the other one had, at once.
func (d *Dir) Exchange(a, b string) error {
	return d.renamed(a, d, b, unix.Renameat2(d.FD(), a, d.FD(), b, unix.RENAME_EXCHANGE))
}

// Unsupported tells whether a file system or a kernel cannot do what was asked.
func Unsupported(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, unix.EINVAL)
}

func (d *Dir) renamed(from string, in *Dir, to string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: "rename", Old: d.Path(from), New: in.Path(to), Err: err}
}

// Sync makes what was made, renamed and removed in the folder durable.
func (d *Dir) Sync() error {
	return d.reading(func(f *os.File) error {
		if err := f.Sync(); err != nil {
			return fmt.Errorf("sync folder %s: %w", d.path, err)
		}
		return nil
	})
}

// Names lists what is in the folder, in order.
func (d *Dir) Names() (names []string, err error) {
	err = d.reading(func(f *os.File) error {
		names, err = f.Readdirnames(-1)
		return err
	})
	slices.Sort(names)
	return names, err
}

// Chain looks at the folder and at those above it, the nearest one first, without
// the root of the file system.
func (d *Dir) Chain(most int) (all []unix.Stat_t, err error) {
	at, err := open(d.FD(), ".", unix.O_PATH|dirFlags, 0)
	for path := d.path; ; path = filepath.Dir(path) {
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		if path == filepath.Dir(path) || len(all) == most {
			return all, unix.Close(at)
		}
		var st unix.Stat_t
		if err := unix.Fstat(at, &st); err != nil {
			_ = unix.Close(at)
			return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
		}
		all = append(all, st)
		var above int
		above, err = open(at, "..", unix.O_PATH|dirFlags, 0)
		_ = unix.Close(at)
		at = above
	}
}

// reading does something with the folder opened anew.
func (d *Dir) reading(do func(*os.File) error) error {
	fd, err := open(d.FD(), ".", unix.O_RDONLY|dirFlags, 0)
	if err != nil {
		return d.failed("open", "", err)
	}
	f := os.NewFile(uintptr(fd), d.path)
	return errors.Join(do(f), f.Close())
}

// Chmod sets the mode of a file or a folder in an open folder, and follows no
// link. It does not need the permission to open it.
func Chmod(in int, name string, mode uint32) error {
	fd, err := open(in, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return unix.ELOOP
	}
	return unix.Chmod(heldPrefix+strconv.Itoa(fd), mode)
}

// beneath says whether the kernel knows openat2 (Linux 5.6), which sandboxes may
// keep from us.
var beneath = sync.OnceValue(func() bool {
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC})
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
})

// Beneath opens what has a path of several names below an open folder: no link is
// followed on the way, and none leads out.
func Beneath(in int, path string, flags int) (int, error) {
	if !beneath() {
		return stepwise(in, path, flags)
	}
	for {
		fd, err := unix.Openat2(in, path, &unix.OpenHow{
			Flags:   uint64(flags | unix.O_NOFOLLOW | unix.O_CLOEXEC),
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
		})
		switch err {
		case unix.EINTR, unix.EAGAIN: // something on the way was renamed meanwhile
			continue
		case unix.ENAMETOOLONG:
			return stepwise(in, path, flags)
		}
		return fd, err
	}
}

// stepwise goes down a path of any length name by name.
func stepwise(in int, path string, flags int) (int, error) {
	at := in
	for {
		name, rest, more := strings.Cut(path, "/")
		if name == ".." {
			return -1, unix.EXDEV
		}
		want := flags | unix.O_NOFOLLOW | unix.O_CLOEXEC
		if more {
			want = unix.O_PATH | dirFlags
		}
		fd, err := open(at, name, want, 0)
		if at != in {
			_ = unix.Close(at)
		}
		if err != nil || !more {
			return fd, err
		}
		at, path = fd, rest
	}
}

func open(in int, name string, flags int, mode uint32) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Openat(in, name, flags, mode)
		return err
	})
	return fd, err
}

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
