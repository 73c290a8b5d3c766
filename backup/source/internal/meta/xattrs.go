package meta

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// Xattrs are the extended attributes of one thing: of an open file or folder, or
// of what must not be opened or followed, by its name in an open folder.
type Xattrs struct {
	list   func(buf []byte) (int, error)
	get    func(name string, buf []byte) (int, error)
	set    func(name string, value []byte) error
	remove func(name string) error
}

func openXattrs(fd int) Xattrs {
	return Xattrs{
		list:   func(b []byte) (int, error) { return unix.Flistxattr(fd, b) },
		get:    func(name string, b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) },
		set:    func(name string, value []byte) error { return unix.Fsetxattr(fd, name, value, 0) },
		remove: func(name string) error { return unix.Fremovexattr(fd, name) },
	}
}

// NamedXattrs are those of what has a name in f: a symlink, a fifo, a device.
func NamedXattrs(f *opendir.Dir, name string) Xattrs {
	// By way of the open folder, as paths may be too long.
	return PathXattrs("/proc/self/fd/" + strconv.Itoa(f.FD) + "/" + name)
}

// PathXattrs are those of what a path itself leads to.
func PathXattrs(path string) Xattrs {
	return Xattrs{
		list:   func(b []byte) (int, error) { return unix.Llistxattr(path, b) },
		get:    func(name string, b []byte) (int, error) { return unix.Lgetxattr(path, name, b) },
		set:    func(name string, value []byte) error { return unix.Lsetxattr(path, name, value, 0) },
		remove: func(name string) error { return unix.Lremovexattr(path, name) },
	}
}

// ReadXattrs reads the extended attributes of an open file or folder, by name.
func ReadXattrs(fd int) ([]tree.Xattr, error) { return openXattrs(fd).Read() }

// Read reads them, by name.
func (x Xattrs) Read() ([]tree.Xattr, error) {
	var small [512]byte
	list, err := readSized(small[:], x.list)
	if err == unix.ENOTSUP || len(list) == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []tree.Xattr
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		value, err := readSized(small[:], func(b []byte) (int, error) { return x.get(name, b) })
		if err == unix.ENODATA {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, tree.Xattr{Name: name, Value: bytes.Clone(value)})
	}
	slices.SortFunc(all, func(a, b tree.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// readSized reads something whose size is not known before into buf, or into
// a larger buffer.
func readSized(buf []byte, read func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := opendir.Retry(func() (int, error) { return read(buf) })
		if err != unix.ERANGE {
			return buf[:max(n, 0)], err
		}
		if n, err = read(nil); err != nil {
			return nil, err
		}
		buf = make([]byte, 2*n+64) // it may have grown
	}
}

// DropXattrs removes the extended attributes that are not among those to keep.
func DropXattrs(fd int, keep []tree.Xattr, root bool) error {
	there, err := ReadXattrs(fd)
	if err != nil {
		return err
	}
	for _, x := range there {
		if slices.ContainsFunc(keep, func(k tree.Xattr) bool { return k.Name == x.Name }) {
			continue
		}
		if hostPolicy(x.Name, root) {
			continue
		}
		if err := unix.Fremovexattr(fd, x.Name); err != nil && err != unix.ENODATA {
			return err
		}
	}
	return nil
}

// SameXattrs tells whether two lists are of the same attributes and values.
func SameXattrs(a, b []tree.Xattr) bool {
	return slices.EqualFunc(a, b, func(x, y tree.Xattr) bool { return x.Name == y.Name && bytes.Equal(x.Value, y.Value) })
}

func hostPolicy(name string, root bool) bool {
	if name == "security.capability" {
		return !root
	}
	return strings.HasPrefix(name, "security.") || strings.HasPrefix(name, "trusted.") && !root
}
