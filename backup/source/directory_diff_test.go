package source

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestIdenticalPartsAreNotRead(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600))
	e, _ := newShelf(t).backup(t, newTestDirectory(t, dir))
	d, err := Compare(t.Context(), Side{Entry: e}, Side{Entry: e}, CompareOptions{SameKeys: true}) // no reader: it would panic
	if err != nil || !d.Same {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestADirectorysDifferencesAreListed(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		must(t, os.MkdirAll(filepath.Dir(in(name)), 0o755))
		must(t, os.WriteFile(in(name), []byte(text), 0o644))
		must(t, os.Chtimes(in(name), time.Unix(1e9, 0), time.Unix(1e9, 0)))
	}
	for _, name := range []string{"a/same", "a/touched", "a/mode", "gone/x", "z", "link/old", "kind"} {
		write(name, "of "+name)
	}
	write("edited", "one")
	src := newTestDirectory(t, dir)
	one, two := newShelf(t), newShelf(t)
	a := one.side(t, src)
	other := two.side(t, src) // under other keys

	write("edited", "two")
	write("a.b", "sorts between a and a/same")
	write("a/same", "of a/same")
	must(t, os.Chtimes(in("a/touched"), time.Unix(2e9, 0), time.Unix(2e9, 0)))
	must(t, os.Chmod(in("a/mode"), 0o600))
	must(t, os.RemoveAll(in("gone")))
	must(t, os.Remove(in("kind")))
	must(t, os.Symlink("z", in("kind")))
	write("z", "longer than before")
	b := one.side(t, src)

	want := []Change{
		{Change: Changed, Path: "a/mode", Type: "file", What: []string{"mode"}, SizeA: 9, SizeB: 9},
		{Change: Changed, Path: "a/touched", Type: "file", What: []string{"mtime"}, SizeA: 12, SizeB: 12},
		{Change: Added, Path: "a.b", Type: "file", SizeB: 26},
		{Change: Changed, Path: "edited", Type: "file", What: []string{"content"}, SizeA: 3, SizeB: 3},
		{Change: Removed, Path: "gone", Type: "folder"},
		{Change: Removed, Path: "gone/x", Type: "file", SizeA: 9},
		{Change: Changed, Path: "kind", Type: "symlink", What: []string{"type"}, SizeA: 7},
		{Change: Changed, Path: "z", Type: "file", What: []string{"content", "size"}, SizeA: 4, SizeB: 18},
	}
	files := &FileDifference{Added: FileCount{Entries: 1, Bytes: 26}, Removed: FileCount{Entries: 2, Bytes: 9}, Changed: FileCount{Entries: 5, Bytes: 9 + 12 + 3 + 18}}
	d, changes := compared(t, a, b, true)
	if diff := cmp.Diff(want, changes); diff != "" || !cmp.Equal(d, Difference{Files: files}) {
		t.Errorf("%+v %+v\n%s", d, d.Files, diff)
	}
	if d, changes = compared(t, other, b, false); cmp.Diff(want, changes) != "" {
		t.Errorf("under other keys: %+v %v", d, changes)
	}
	again := two.side(t, src)
	if d, changes = compared(t, b, again, false); !d.Same || len(changes) > 0 {
		t.Errorf("the same under other keys: %+v %v", d, changes)
	}
}

func TestARestoredDirectoryIsTheSame(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	must(t, os.Mkdir(from, 0o755))
	sourcetest.WriteOddities(t, from)
	s := newShelf(t)
	a := s.side(t, newTestDirectory(t, from))
	must(t, Export(t.Context(), a.Reader, a.Entry, to))
	b := s.side(t, newTestDirectory(t, to))
	if d, changes := compared(t, a, b, true); !d.Same {
		t.Errorf("%+v %v", d, changes)
	}
}
