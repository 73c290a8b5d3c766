package directory

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// always says that a folder is a mount point, so that tests which cannot mount
// anything go the same way.
func always(fsx.Place) (bool, error) { return true, nil }

// mount gives a directory source on a mount point: a real one where this
// process may mount, or else a folder that is taken for one.
func mount(t *testing.T) *Source {
	t.Helper()
	target := filepath.Join(t.TempDir(), "volume")
	sourcetest.Must(t, os.Mkdir(target, 0o755))
	err := unix.Mount("understudy", target, "tmpfs", 0, "size=64m")
	if err == nil {
		t.Cleanup(func() { sourcetest.Must(t, unix.Unmount(target, 0)) })
		return newTestDirectory(t, target)
	}
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		t.Fatal(err)
	}
	d := newTestDirectory(t, target)
	d.mounted = always
	return d
}

// generations are two dumped trees, which are kept to be compared with.
type generations struct {
	older, newer string
	a, b         source.Entry
	readA, readB *pack.Reader
}

func newGenerations(t *testing.T) *generations {
	t.Helper()
	root := t.TempDir()
	g := &generations{older: filepath.Join(root, "older"), newer: filepath.Join(root, "newer")}
	sourcetest.WriteOddities(t, g.older)
	sourcetest.WriteTree(t, g.newer, 8, sourcetest.TreeSize{Files: 12, Bytes: 12000})
	sourcetest.Must(t, os.WriteFile(filepath.Join(g.newer, "plain"), []byte("the same name, and another file"), 0o600))
	sourcetest.Must(t, os.Chmod(g.newer, 0o751))
	v := sourcetest.NewVault(t)
	g.a, _ = v.Backup(t, newTestDirectory(t, g.older))
	g.readA = v.Reader()
	g.b, _ = v.Backup(t, newTestDirectory(t, g.newer))
	g.readB = v.Reader()
	return g
}

func TestAMountPointIsSwappedEntryByEntry(t *testing.T) {
	g := newGenerations(t)
	d := mount(t)
	sourcetest.Must(t, d.Check(t.Context()))
	sourcetest.Must(t, d.Stage(t.Context(), g.readA, g.a))
	sourcetest.CompareTrees(t, g.older, d.Staged())
	sourcetest.Must(t, d.Swap(t.Context()))
	sourcetest.Must(t, d.Discard(t.Context()))
	sourcetest.MustSweep(t, d)
	sourcetest.CompareTrees(t, g.older, d.cfg.Path)

	sourcetest.Must(t, d.Stage(t.Context(), g.readA, g.a))
	sourcetest.Must(t, d.Advance(t.Context(), g.readB, g.a, g.b))
	print, err := d.Fingerprint(t.Context())
	if err != nil || print == "" {
		t.Errorf("print %q, %v", print, err)
	}
	sourcetest.CompareTrees(t, g.newer, d.Staged())
	// What is staged is in no dump of the target.
	v := sourcetest.NewVault(t)
	e, _ := v.Backup(t, d)
	copied := filepath.Join(t.TempDir(), "copy")
	sourcetest.Must(t, source.Export(t.Context(), v.Reader(), e, copied))
	sourcetest.CompareTrees(t, g.older, copied)

	sourcetest.Must(t, d.Swap(t.Context()))
	sourcetest.Must(t, d.SwapBack(t.Context()))
	sourcetest.MustSweep(t, d)
	sourcetest.CompareTrees(t, g.older, d.cfg.Path)
	sourcetest.Must(t, d.Stage(t.Context(), g.readB, g.b))
	sourcetest.Must(t, d.Swap(t.Context()))
	sourcetest.Must(t, d.Discard(t.Context()))
	sourcetest.MustSweep(t, d)
	sourcetest.CompareTrees(t, g.newer, d.cfg.Path)
}
