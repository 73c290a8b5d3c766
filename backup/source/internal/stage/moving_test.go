package stage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// movingAt is the swap of what is at a mount point.
func movingAt(t *testing.T, target string) *moving {
	t.Helper()
	m, err := newMoving(sourcetest.Placed(t, target))
	sourcetest.Must(t, err)
	t.Cleanup(m.Release)
	return m
}

// A swap of a mount point that is cut off at any of its steps ends, in a new
// process, in the old or the new state, whichever is asked for; and so does
// what it does then when that is cut off too.
func TestMovingStoppedAnywhereGoesOnOrBack(t *testing.T) {
	for name, c := range map[string]struct {
		first, then func(*moving) error
		want        string
	}{
		"swap, go on":           {(*moving).Swap, goOn, "new"},
		"swap, go back":         {(*moving).Swap, (*moving).SwapBack, "old"},
		"swap back, go on":      {swapThere, (*moving).SwapBack, "old"},
		"discard, go on":        {discardAll, (*moving).Discard, "new"},
		"swap, go back, halted": {haltedBack, (*moving).SwapBack, "old"},
	} {
		t.Run(name, func(t *testing.T) {
			for n := 0; ; n++ {
				root := t.TempDir()
				m := newVolume(t, root)
				if name == "discard, go on" {
					sourcetest.Must(t, m.Swap())
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
				sourcetest.Must(t, c.then(movingAt(t, m.Target)))
				checkVolume(t, m.Target, c.want)
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

func goOn(m *moving) error { return errors.Join(m.Swap(), m.Swap(), m.Discard()) }

func swapThere(m *moving) error {
	if err := m.Swap(); err != nil {
		return err
	}
	return m.SwapBack()
}

func discardAll(m *moving) error { return m.Discard() }

// haltedBack swaps half-way, and is stopped on the way back.
func haltedBack(m *moving) error {
	fault, moves := m.fault, 0
	m.fault = func(step string) error {
		if step == "move" {
			if moves++; moves == 4 {
				return errStop
			}
		}
		return nil
	}
	if err := m.Swap(); !errors.Is(err, errStop) {
		return errors.Join(errors.New("it was not stopped"), err)
	}
	m.fault = fault
	return m.SwapBack()
}

// newVolume makes a target with an old state, and a new one staged in it.
func newVolume(t *testing.T, root string) *moving {
	t.Helper()
	target := filepath.Join(root, "volume")
	sourcetest.Must(t, os.Mkdir(target, 0o755))
	for _, name := range []string{"a", "b", "old", LostAndFound} {
		sourcetest.Must(t, fill("old")(filepath.Join(target, name)))
	}
	m := movingAt(t, target)
	sourcetest.Must(t, m.Prepare(nil))
	sourcetest.Must(t, m.Build(t.Context(), func(made *fsx.Dir) error {
		dir := made.Path()
		for _, name := range []string{"a", "b", "new"} {
			sourcetest.Must(t, fill("new")(filepath.Join(dir, name)))
		}
		sourcetest.Must(t, os.Chmod(filepath.Join(dir, "a"), 0o500))
		return os.WriteFile(m.Path(m.Listing), nil, 0o600)
	}))
	return m
}

func checkVolume(t *testing.T, target, want string) {
	t.Helper()
	m := movingAt(t, target)
	if left, err := m.Asides().Sweep(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	sourcetest.Must(t, m.Leave())
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
	if err := m.Swap(); !errors.Is(err, errStop) {
		t.Fatalf("after %d moves: %v", moves, err)
	}
	sourcetest.Must(t, fill("made by an application that started too early")(filepath.Join(m.Target, "a")))
	m.fault = swap.NoFault
	if err := m.Swap(); err == nil {
		t.Error("no error")
	}
	sourcetest.Must(t, os.RemoveAll(filepath.Join(m.Target, "a")))
	sourcetest.Must(t, goOn(m))
	checkVolume(t, m.Target, "new")
}
