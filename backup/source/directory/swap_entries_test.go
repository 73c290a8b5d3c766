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
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
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

// movingAt is the swap of what is at a mount point.
func movingAt(t *testing.T, target string) *entrySwap {
	t.Helper()
	m, err := newEntrySwap(sourcetest.Placed(t, target))
	sourcetest.Must(t, err)
	t.Cleanup(m.release)
	return m
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
	g.a, _ = v.MustBackup(newTestDirectory(t, g.older))
	g.readA = v.Last()
	g.b, _ = v.MustBackup(newTestDirectory(t, g.newer))
	g.readB = v.Last()
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
	e, _ := v.MustBackup(d)
	copied := filepath.Join(t.TempDir(), "copy")
	sourcetest.Must(t, source.Export(t.Context(), v.Last(), e, copied))
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

// A swap of a mount point that is cut off at any of its steps ends, in a new
// process, in the old or the new state, whichever is asked for; and so does
// what it does then when that is cut off too.
func TestMovingStoppedAnywhereGoesOnOrBack(t *testing.T) {
	for name, c := range map[string]struct {
		first, then func(*entrySwap) error
		want        string
	}{
		"swap, go on":           {(*entrySwap).swap, goOn, "new"},
		"swap, go back":         {(*entrySwap).swap, (*entrySwap).swapBack, "old"},
		"swap back, go on":      {swapThere, (*entrySwap).swapBack, "old"},
		"discard, go on":        {discardAll, (*entrySwap).discard, "new"},
		"swap, go back, halted": {haltedBack, (*entrySwap).swapBack, "old"},
	} {
		t.Run(name, func(t *testing.T) {
			for n := 0; ; n++ {
				root := t.TempDir()
				m := newVolume(t, root)
				if name == "discard, go on" {
					sourcetest.Must(t, m.swap())
				}
				steps := 0
				m.fault = func(string) error {
					if steps++; steps > n {
						return errStop
					}
					return nil
				}
				err := c.first(m)
				if err != nil && !errors.Is(err, errStop) {
					t.Fatalf("stopped after %d steps: %v", n, err)
				}
				sourcetest.Must(t, c.then(movingAt(t, m.target)))
				checkVolume(t, m.target, c.want)
				if t.Failed() {
					t.Fatalf("stopped after %d steps", n)
				}
				if err == nil {
					if n < 5 {
						t.Errorf("only %d steps", n)
					}
					return
				}
			}
		})
	}
}

func goOn(m *entrySwap) error { return errors.Join(m.swap(), m.swap(), m.discard()) }

func swapThere(m *entrySwap) error {
	if err := m.swap(); err != nil {
		return err
	}
	return m.swapBack()
}

func discardAll(m *entrySwap) error { return m.discard() }

// haltedBack swaps half-way, and is stopped on the way back.
func haltedBack(m *entrySwap) error {
	fault, moves := m.fault, 0
	m.fault = func(step string) error {
		if step == "move" {
			if moves++; moves == 4 {
				return errStop
			}
		}
		return nil
	}
	if err := m.swap(); !errors.Is(err, errStop) {
		return errors.Join(errors.New("it was not stopped"), err)
	}
	m.fault = fault
	return m.swapBack()
}

// newVolume makes a target with an old state, and a new one staged in it.
func newVolume(t *testing.T, root string) *entrySwap {
	t.Helper()
	target := filepath.Join(root, "volume")
	sourcetest.Must(t, os.Mkdir(target, 0o755))
	for _, name := range []string{"a", "b", "old", lostAndFound} {
		sourcetest.Must(t, fill("old")(filepath.Join(target, name)))
	}
	m := movingAt(t, target)
	sourcetest.Must(t, m.prepare(nil))
	sourcetest.Must(t, m.stage(t.Context(), func(made *fsx.Dir) error {
		dir := made.Path()
		for _, name := range []string{"a", "b", "new"} {
			sourcetest.Must(t, fill("new")(filepath.Join(dir, name)))
		}
		sourcetest.Must(t, os.Chmod(filepath.Join(dir, "a"), 0o500))
		return os.WriteFile(m.path(m.listing), nil, 0o600)
	}))
	return m
}

func checkVolume(t *testing.T, target, want string) {
	t.Helper()
	m := movingAt(t, target)
	if left, err := m.asides().Sweep(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	sourcetest.Must(t, m.leave())
	entries, err := os.ReadDir(target)
	sourcetest.Must(t, err)
	if len(entries) != 4 {
		t.Errorf("the target holds %v", entries)
	}
	s := &scene{t: t, target: target}
	for _, name := range []string{"a", "b", want} {
		if got := s.holds(filepath.Join(target, name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	info, err := os.Stat(target)
	sourcetest.Must(t, err)
	if mode := map[string]os.FileMode{"old": 0o755, "new": 0o700}[want]; info.Mode().Perm() != mode {
		t.Errorf("the target has the mode %v, want %v", info.Mode(), mode)
	}
}

func TestMovingOverwritesNothing(t *testing.T) {
	m := newVolume(t, t.TempDir())
	moves := 0
	m.fault = func(step string) error {
		if step == "in" {
			return errStop
		}
		return nil
	}
	if err := m.swap(); !errors.Is(err, errStop) {
		t.Fatalf("after %d moves: %v", moves, err)
	}
	sourcetest.Must(t, fill("made by an application that started too early")(filepath.Join(m.target, "a")))
	m.fault = swap.NoFault
	if err := m.swap(); err == nil {
		t.Error("no error")
	}
	sourcetest.Must(t, os.RemoveAll(filepath.Join(m.target, "a")))
	sourcetest.Must(t, goOn(m))
	checkVolume(t, m.target, "new")
}
