// Package opendir has open directories which several goroutines work in, and what is in
// them is reached by its name alone.
package opendir

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// Dir is an open folder that several goroutines may work in; the last
// one to release it closes it. What is in it is reached by its name alone, so
// that neither long paths nor folders that turn into symlinks meanwhile matter.
type Dir struct {
	FD   int
	refs atomic.Int32
}

func newDir(fd int) *Dir {
	f := &Dir{FD: fd}
	f.refs.Store(1)
	return f
}

// Hold has one more user of the directory.
func (f *Dir) Hold() *Dir {
	f.refs.Add(1)
	return f
}

// Release lets go of the directory, and closes it after the last user.
func (f *Dir) Release() {
	if f.refs.Add(-1) == 0 {
		unix.Close(f.FD)
	}
}

const dirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// Open opens the folder at a place.
func Open(at fsx.Place) (*Dir, error) {
	if len(at.Missing) > 0 {
		return nil, &fs.PathError{Op: "open", Path: at.Path(), Err: unix.ENOENT}
	}
	fd, err := RetryOpen(at.Dir.FD(), at.Name, dirFlags, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: at.Path(), Err: err}
	}
	return newDir(fd), nil
}

// OpenHeld opens a held folder.
func OpenHeld(d *fsx.Dir) (*Dir, error) { return Open(fsx.Place{Dir: d, Name: "."}) }

// Make makes a folder in f, which belongs to this process alone at first.
func (f *Dir) Make(name string) (*Dir, error) {
	fd, err := fsx.MakeIn(f.FD, name)
	if err != nil {
		return nil, err
	}
	return newDir(fd), nil
}

// OpenDir opens a folder in f.
func (f *Dir) OpenDir(name string) (*Dir, error) {
	fd, err := RetryOpen(f.FD, name, dirFlags, 0)
	if err != nil {
		return nil, err
	}
	return newDir(fd), nil
}

// Names lists the folder, sorted by the bytes of the names.
func (f *Dir) Names(buf []byte) ([]string, error) {
	var names []string
	for {
		n, err := Retry(func() (int, error) { return unix.ReadDirent(f.FD, buf) })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			slices.SortFunc(names, strings.Compare)
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// Stat looks at what has that name in f, which may be a symlink.
func (f *Dir) Stat(name string, st *unix.Stat_t) error {
	_, err := Retry(func() (int, error) {
		return 0, unix.Fstatat(f.FD, name, st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return err
}

// Readlink reads the target of a symlink.
func (f *Dir) Readlink(name string) (string, error) {
	for size := 256; ; size *= 2 {
		buf := make([]byte, size)
		n, err := Retry(func() (int, error) { return unix.Readlinkat(f.FD, name, buf) })
		if err != nil {
			return "", err
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
}

// Retry repeats a system call that a signal interrupted, which happens on
// network and FUSE file systems.
func Retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// RetryOpen opens what has a name in a directory.
func RetryOpen(dir int, name string, flags int, mode uint32) (int, error) {
	return Retry(func() (int, error) { return unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode) })
}

// Vanished reports whether err says that a name is no longer there. No other
// error says so: one of a server or a disk that is away is the end of the dump,
// or else what it held would be taken for deleted.
func Vanished(err error) bool { return errors.Is(err, unix.ENOENT) }

// FileReader reads parts of an open file, or less if it is shorter. Knowing
// where they end saves the read that finds the end, and keeps a file that grows
// for ever from being read for ever.
type FileReader struct {
	Fd   int
	Path string
	Data []tree.Extent // that are left
	err  error         // what stopped it
}

// Read implements io.Reader.
func (r *FileReader) Read(p []byte) (int, error) {
	if len(r.Data) == 0 {
		return 0, io.EOF
	}
	x := r.Data[0]
	if int64(len(p)) > x.Length {
		p = p[:x.Length]
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := Retry(func() (int, error) { return unix.Pread(r.Fd, p, x.Offset) })
	if err != nil {
		r.err = &fs.PathError{Op: "read", Path: r.Path, Err: err}
		return 0, r.err
	}
	switch {
	case n == 0:
		r.Data = nil
	case int64(n) == x.Length:
		r.Data = r.Data[1:]
	default:
		r.Data = append([]tree.Extent{{Offset: x.Offset + int64(n), Length: x.Length - int64(n)}}, r.Data[1:]...)
	}
	if len(r.Data) == 0 {
		return n, io.EOF
	}
	return n, nil
}
