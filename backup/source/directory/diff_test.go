package directory

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestIdenticalPartsAreNotRead(t *testing.T) {
	dir := t.TempDir()
	sourcetest.Must(t, os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600))
	e, _ := sourcetest.NewVault(t).Backup(t, newTestDirectory(t, dir))
	d, err := source.Compare(t.Context(), source.Side{Entry: e}, source.Side{Entry: e}, source.CompareOptions{SameKeys: true}) // no reader: it would panic
	if err != nil || !d.Same {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestADirectorysDifferencesAreListed(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		sourcetest.Must(t, os.MkdirAll(filepath.Dir(in(name)), 0o755))
		sourcetest.Must(t, os.WriteFile(in(name), []byte(text), 0o644))
		sourcetest.Must(t, os.Chtimes(in(name), time.Unix(1e9, 0), time.Unix(1e9, 0)))
	}
	for _, name := range []string{"a/same", "a/touched", "a/mode", "gone/x", "z", "link/old", "kind"} {
		write(name, "of "+name)
	}
	write("edited", "one")
	src := newTestDirectory(t, dir)
	one, two := sourcetest.NewVault(t), sourcetest.NewOtherVault(t)
	a := one.Side(t, src)
	other := two.Side(t, src) // under other keys

	write("edited", "two")
	write("a.b", "sorts between a and a/same")
	write("a/same", "of a/same")
	sourcetest.Must(t, os.Chtimes(in("a/touched"), time.Unix(2e9, 0), time.Unix(2e9, 0)))
	sourcetest.Must(t, os.Chmod(in("a/mode"), 0o600))
	sourcetest.Must(t, os.RemoveAll(in("gone")))
	sourcetest.Must(t, os.Remove(in("kind")))
	sourcetest.Must(t, os.Symlink("z", in("kind")))
	write("z", "longer than before")
	b := one.Side(t, src)

	want := []source.Change{
		{Change: source.Changed, Path: "a/mode", Type: "file", What: []string{"mode"}, SizeA: 9, SizeB: 9},
		{Change: source.Changed, Path: "a/touched", Type: "file", What: []string{"mtime"}, SizeA: 12, SizeB: 12},
		{Change: source.Added, Path: "a.b", Type: "file", SizeB: 26},
		{Change: source.Changed, Path: "edited", Type: "file", What: []string{"content"}, SizeA: 3, SizeB: 3},
		{Change: source.Removed, Path: "gone", Type: "folder"},
		{Change: source.Removed, Path: "gone/x", Type: "file", SizeA: 9},
		{Change: source.Changed, Path: "kind", Type: "symlink", What: []string{"type"}, SizeA: 7},
		{Change: source.Changed, Path: "z", Type: "file", What: []string{"content", "size"}, SizeA: 4, SizeB: 18},
	}
	files := &source.FileDifference{Added: source.FileCount{Entries: 1, Bytes: 26}, Removed: source.FileCount{Entries: 2, Bytes: 9}, Changed: source.FileCount{Entries: 5, Bytes: 9 + 12 + 3 + 18}}
	d, changes := sourcetest.Compared(t, a, b, true)
	if diff := cmp.Diff(want, changes); diff != "" || !cmp.Equal(d, source.Difference{Files: files}) {
		t.Errorf("%+v %+v\n%s", d, d.Files, diff)
	}
	if d, changes = sourcetest.Compared(t, other, b, false); cmp.Diff(want, changes) != "" {
		t.Errorf("under other keys: %+v %v", d, changes)
	}
	again := two.Side(t, src)
	if d, changes = sourcetest.Compared(t, b, again, false); !d.Same || len(changes) > 0 {
		t.Errorf("the same under other keys: %+v %v", d, changes)
	}
}

func TestARestoredDirectoryIsTheSame(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	sourcetest.Must(t, os.Mkdir(from, 0o755))
	sourcetest.WriteOddities(t, from)
	s := sourcetest.NewVault(t)
	a := s.Side(t, newTestDirectory(t, from))
	sourcetest.Must(t, source.Export(t.Context(), a.Reader, a.Entry, to))
	b := s.Side(t, newTestDirectory(t, to))
	if d, changes := sourcetest.Compared(t, a, b, true); !d.Same {
		t.Errorf("%+v %v", d, changes)
	}
}
