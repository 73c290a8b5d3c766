// Package sourcetest is for tests of sources and of what is built on them. It makes and
// compares folders, keeps backups in memory, and has what every kind of source is held
// to: bodies of tests that the package of each kind calls.
package sourcetest

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pkg/xattr"
)

// CompareTrees fails the test unless b is the same as a, byte for byte: names,
// types, contents, modes, owners, modification times (nanoseconds, those of
// folders too), symlinks, which names are hard links of each other, devices,
// and extended attributes. The two roots are compared as well. Paths that
// ignore matches (nil: none) are left out.
func CompareTrees(t testing.TB, a, b string, ignore ...func(path string) bool) {
	t.Helper()
	for _, d := range DiffTrees(t, a, b, ignore...) {
		t.Errorf("%s and %s differ: %s", a, b, d)
	}
}

// DiffTrees tells in what two trees differ, at most twenty differences. It
// fails the test where it cannot read.
func DiffTrees(t testing.TB, a, b string, ignore ...func(path string) bool) []string {
	t.Helper()
	left, right := scan(t, a, ignore), scan(t, b, ignore)
	paths := make([]string, 0, len(left))
	for p := range left {
		paths = append(paths, p)
	}
	for p := range right {
		if left[p] == nil {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	const most = 20
	var diffs []string
	for _, p := range paths {
		if d := diff(left[p], right[p]); d != "" {
			diffs = append(diffs, fmt.Sprintf("%q: %s", p, d))
		}
		if len(diffs) == most {
			break
		}
	}
	return diffs
}

// thing is what one path leads to.
type thing struct {
	path   string // where it is
	desc   string // all that is the same in an equal thing, but for the content
	file   bool
	size   int64
	sameAs string // the first path of the same file, in the order of a walk
}

func scan(t testing.TB, root string, ignore []func(string) bool) map[string]*thing {
	t.Helper()
	things := map[string]*thing{}
	first := map[[2]uint64]string{}
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(ignore, func(f func(string) bool) bool { return f != nil && f(rel) }) {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		things[rel], err = readThing(p, rel, first)
		return err
	})
	if err != nil {
		t.Fatalf("compare trees: %v", err)
	}
	return things
}

func readThing(p, rel string, first map[[2]uint64]string) (*thing, error) {
	info, err := os.Lstat(p)
	if err != nil {
		return nil, err
	}
	st := info.Sys().(*syscall.Stat_t)
	var b strings.Builder
	fmt.Fprintf(&b, "%v owner %d:%d time %s", info.Mode(), st.Uid, st.Gid, info.ModTime().UTC().Format("2006-01-02T15:04:05.999999999"))
	it := &thing{path: p, file: info.Mode().IsRegular()}
	switch {
	case it.file:
		it.size = info.Size()
		fmt.Fprintf(&b, " size %d", it.size)
		key := [2]uint64{uint64(st.Dev), st.Ino}
		if st.Nlink > 1 && first[key] == "" {
			first[key] = rel
		}
		it.sameAs = first[key]
		fmt.Fprintf(&b, " same file as %q", it.sameAs)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(p)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, " to %q", target)
	case info.Mode()&fs.ModeDevice != 0:
		fmt.Fprintf(&b, " device %d", st.Rdev)
	}
	names, err := xattr.LList(p)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		value, err := xattr.LGet(p, name)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, " %s=%q", name, value)
	}
	it.desc = b.String()
	return it, nil
}

func diff(a, b *thing) string {
	switch {
	case a == nil:
		return "is only in the second"
	case b == nil:
		return "is only in the first"
	case a.desc != b.desc:
		return fmt.Sprintf("%s; in the second %s", a.desc, b.desc)
	case a.file && a.size > 0:
		same, err := sameContent(a.path, b.path)
		if err != nil {
			return err.Error()
		}
		if !same {
			return "has other content"
		}
	}
	return ""
}

func sameContent(a, b string) (bool, error) {
	f, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer f.Close()
	g, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer g.Close()
	const piece = 128 << 10
	x, y := make([]byte, piece), make([]byte, piece)
	for {
		n, errF := io.ReadFull(f, x)
		m, errG := io.ReadFull(g, y)
		if !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		if errF != nil || errG != nil {
			return ended(errF) && ended(errG), firstReal(errF, errG)
		}
	}
}

func ended(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

func firstReal(errs ...error) error {
	for _, err := range errs {
		if err != nil && !ended(err) {
			return err
		}
	}
	return nil
}
