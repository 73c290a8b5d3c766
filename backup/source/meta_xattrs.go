package source

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// xattrs are the extended attributes of one thing: of an open file or folder, or
// of what must not be opened or followed, by its name in an open folder.
type xattrs struct {
	list   func(buf []byte) (int, error)
	get    func(name string, buf []byte) (int, error)
	set    func(name string, value []byte) error
	remove func(name string) error
}

func openXattrs(fd int) xattrs {
	return xattrs{
		list:   func(b []byte) (int, error) { return unix.Flistxattr(fd, b) },
		get:    func(name string, b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) },
		set:    func(name string, value []byte) error { return unix.Fsetxattr(fd, name, value, 0) },
		remove: func(name string) error { return unix.Fremovexattr(fd, name) },
	}
}

// namedXattrs are those of what has a name in f: a symlink, a fifo, a device.
func namedXattrs(f *openFolder, name string) xattrs {
	// By way of the open folder, as paths may be too long.
	return pathXattrs("/proc/self/fd/" + strconv.Itoa(f.fd) + "/" + name)
}

// pathXattrs are those of what a path itself leads to.
func pathXattrs(path string) xattrs {
	return xattrs{
		list:   func(b []byte) (int, error) { return unix.Llistxattr(path, b) },
		get:    func(name string, b []byte) (int, error) { return unix.Lgetxattr(path, name, b) },
		set:    func(name string, value []byte) error { return unix.Lsetxattr(path, name, value, 0) },
		remove: func(name string) error { return unix.Lremovexattr(path, name) },
	}
}

// readXattrs reads the extended attributes of an open file or folder, by name.
func readXattrs(fd int) ([]Xattr, error) { return openXattrs(fd).read() }

// read reads them, by name.
func (x xattrs) read() ([]Xattr, error) {
	var small [512]byte
	list, err := readSized(small[:], x.list)
	if err == unix.ENOTSUP || len(list) == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Xattr
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		value, err := readSized(small[:], func(b []byte) (int, error) { return x.get(name, b) })
		if err == unix.ENODATA {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, Xattr{Name: name, Value: bytes.Clone(value)})
	}
	slices.SortFunc(all, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// readSized reads something whose size is not known before into buf, or into
// a larger buffer.
func readSized(buf []byte, read func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := retry(func() (int, error) { return read(buf) })
		if err != unix.ERANGE {
			return buf[:max(n, 0)], err
		}
		if n, err = read(nil); err != nil {
			return nil, err
		}
		buf = make([]byte, 2*n+64) // it may have grown
	}
}

// dropXattrs removes the extended attributes that are not among those to keep.
func dropXattrs(fd int, keep []Xattr, root bool) error {
	there, err := readXattrs(fd)
	if err != nil {
		return err
	}
	for _, x := range there {
		if slices.ContainsFunc(keep, func(k Xattr) bool { return k.Name == x.Name }) {
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

func sameXattrs(a, b []Xattr) bool {
	return slices.EqualFunc(a, b, func(x, y Xattr) bool { return x.Name == y.Name && bytes.Equal(x.Value, y.Value) })
}

func hostPolicy(name string, root bool) bool {
	if name == "security.capability" {
		return !root
	}
	return strings.HasPrefix(name, "security.") || strings.HasPrefix(name, "trusted.") && !root
}
