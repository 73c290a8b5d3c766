package source

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// openFolder is an open folder that several goroutines may work in; the last
// one to release it closes it. What is in it is reached by its name alone, so
// that neither long paths nor folders that turn into symlinks meanwhile matter.
type openFolder struct {
	fd   int
	refs atomic.Int32
}

func newOpenFolder(fd int) *openFolder {
	f := &openFolder{fd: fd}
	f.refs.Store(1)
	return f
}

func (f *openFolder) hold() *openFolder {
	f.refs.Add(1)
	return f
}

func (f *openFolder) release() {
	if f.refs.Add(-1) == 0 {
		unix.Close(f.fd)
	}
}

const folderFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// openRoot opens the folder at a place.
func openRoot(at fsx.Place) (*openFolder, error) {
	if len(at.Missing) > 0 {
		return nil, &fs.PathError{Op: "open", Path: at.Path(), Err: unix.ENOENT}
	}
	fd, err := retryOpen(at.Dir.FD(), at.Name, folderFlags, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: at.Path(), Err: err}
	}
	return newOpenFolder(fd), nil
}

// openHere opens a held folder.
func openHere(d *fsx.Dir) (*openFolder, error) { return openRoot(fsx.Place{Dir: d, Name: "."}) }

// make makes a folder in f, which belongs to this process alone at first.
func (f *openFolder) make(name string) (*openFolder, error) {
	fd, err := fsx.MakeIn(f.fd, name)
	if err != nil {
		return nil, err
	}
	return newOpenFolder(fd), nil
}

// folder opens a folder in f.
func (f *openFolder) folder(name string) (*openFolder, error) {
	fd, err := retryOpen(f.fd, name, folderFlags, 0)
	if err != nil {
		return nil, err
	}
	return newOpenFolder(fd), nil
}

// names lists the folder, sorted by the bytes of the names.
func (f *openFolder) names(buf []byte) ([]string, error) {
	var names []string
	for {
		n, err := retry(func() (int, error) { return unix.ReadDirent(f.fd, buf) })
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

// stat looks at what has that name in f, which may be a symlink.
func (f *openFolder) stat(name string, st *unix.Stat_t) error {
	_, err := retry(func() (int, error) {
		return 0, unix.Fstatat(f.fd, name, st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return err
}

// readlink reads the target of a symlink.
func (f *openFolder) readlink(name string) (string, error) {
	for size := 256; ; size *= 2 {
		buf := make([]byte, size)
		n, err := retry(func() (int, error) { return unix.Readlinkat(f.fd, name, buf) })
		if err != nil {
			return "", err
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
}

// retry repeats a system call that a signal interrupted, which happens on
// network and FUSE file systems.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

func retryOpen(dir int, name string, flags int, mode uint32) (int, error) {
	return retry(func() (int, error) { return unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode) })
}

// vanished reports whether err says that a name is no longer there. No other
// error says so: one of a server or a disk that is away is the end of the dump,
// or else what it held would be taken for deleted.
func vanished(err error) bool { return errors.Is(err, unix.ENOENT) }

// fileReader reads parts of an open file, or less if it is shorter. Knowing
// where they end saves the read that finds the end, and keeps a file that grows
// for ever from being read for ever.
type fileReader struct {
	fd   int
	path string
	data []Extent // that are left
	err  error    // what stopped it
}

// Read implements io.Reader.
func (r *fileReader) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	x := r.data[0]
	if int64(len(p)) > x.Length {
		p = p[:x.Length]
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := retry(func() (int, error) { return unix.Pread(r.fd, p, x.Offset) })
	if err != nil {
		r.err = &fs.PathError{Op: "read", Path: r.path, Err: err}
		return 0, r.err
	}
	switch {
	case n == 0:
		r.data = nil
	case int64(n) == x.Length:
		r.data = r.data[1:]
	default:
		r.data = append([]Extent{{Offset: x.Offset + int64(n), Length: x.Length - int64(n)}}, r.data[1:]...)
	}
	if len(r.data) == 0 {
		return n, io.EOF
	}
	return n, nil
}
