package sourcetest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
)

// Reached is a source of one kind, with the text that is its state.
type Reached struct {
	Src   source.Source
	Write func(text string)
	Read  func(path string) string // "": the live state
	Fault *func(step string) error // of its swap
}

// ReachedFile is a source whose state is one file.
func ReachedFile(t *testing.T, src source.Source, path string, fault *func(string) error) Reached {
	return Reached{
		Src: src, Fault: fault,
		Write: func(text string) { Must(t, os.WriteFile(path, []byte(text), 0o600)) },
		Read: func(at string) string {
			if at == "" {
				at = path
			}
			return ReadText(t, at)
		},
	}
}

// ReachSeen stops a swap of a source that make makes at each of its steps: how far
// it has come is told by what lies there. One that is cut off anywhere is known to
// be, can go back, and where it is whole, what it replaced can be kept.
func ReachSeen(t *testing.T, make func(t *testing.T) Reached) {
	t.Helper()
	var seen [source.ReachPlaced + 1]int
	for n, done := 0, false; !done; n++ {
		var reach source.Reach
		reach, done = reachStopped(t, make(t), n, false)
		seen[reach]++
		if reach == source.ReachPlaced { // before that there is nothing to keep
			_, _ = reachStopped(t, make(t), n, true)
		}
		if t.Failed() {
			t.Fatalf("stopped at step %d", n)
		}
	}
	if seen[source.ReachPlaced] == 0 || seen[source.ReachBegun] == 0 {
		t.Errorf("reaches seen: %v", seen)
	}
}

// reachStopped stops a swap before, or after, its nth step and ends it.
func reachStopped(t *testing.T, r Reached, n int, keep bool) (reach source.Reach, done bool) {
	t.Helper()
	s, ctx := NewVault(t), t.Context()
	r.Write("new")
	e, _ := s.Backup(t, r.Src)
	r.Write("what was before")
	old, again := r.Read(""), e
	if reach, err := r.Src.Reach(ctx); err != nil || reach != source.ReachNone {
		t.Errorf("before anything is staged: %v, %v", reach, err)
	}
	s.Stage(t, r.Src, e)
	if reach, err := r.Src.Reach(ctx); err != nil || reach != source.ReachStaged {
		t.Errorf("staged: %v, %v", reach, err)
	}
	steps := 0
	*r.Fault = func(string) error {
		if steps++; steps > n {
			return errHalted
		}
		return nil
	}
	err := r.Src.Swap(ctx)
	*r.Fault = func(string) error { return nil }
	if err != nil && !errors.Is(err, errHalted) {
		t.Fatal(err)
	}
	done = err == nil
	reach, err = r.Src.Reach(ctx)
	if err != nil || done && reach != source.ReachPlaced || !done && reach == source.ReachNone {
		t.Errorf("stopped: %v, %v", reach, err)
	}
	if reach == source.ReachPlaced && keep {
		reachKept(t, r, old)
	} else {
		Must(t, r.Src.SwapBack(ctx))
		if text := r.Read(""); text != old {
			t.Errorf("swapped back, it holds %q", text)
		}
	}
	MustSweep(t, r.Src.(source.Sweeper))
	if after, err := r.Src.Reach(ctx); err != nil || after != source.ReachNone {
		t.Errorf("in the end: %v, %v", after, err)
	}
	s.Stage(t, r.Src, again)
	return reach, done
}

// reachKept ends a swap that is whole, keeping what it replaced, twice.
func reachKept(t *testing.T, r Reached, old string) {
	t.Helper()
	ctx := t.Context()
	Must(t, r.Src.Swap(ctx))
	kept, err := r.Src.Keep(ctx)
	Must(t, err)
	if again, err := r.Src.Keep(ctx); again != "" || err != nil {
		t.Errorf("kept again: %q, %v", again, err)
	}
	Must(t, r.Src.Discard(ctx))
	MustSweep(t, r.Src.(source.Sweeper))
	if text := r.Read(""); text == old {
		t.Errorf("the new state is gone: %q", text)
	}
	if text := r.Read(kept); text != old {
		t.Errorf("kept in %s: %q", kept, text)
	}
}

// KeepsNothing holds a source to that a swap which replaced nothing has nothing to
// keep.
func KeepsNothing(t *testing.T, r Reached) {
	t.Helper()
	s := NewVault(t)
	r.Write("new")
	e, _ := s.Backup(t, r.Src)
	places, err := r.Src.(source.Openable).Live()
	Must(t, err)
	for _, p := range places {
		Must(t, os.RemoveAll(p.Path))
	}
	s.Stage(t, r.Src, e)
	Must(t, r.Src.Swap(t.Context()))
	if reach, err := r.Src.Reach(t.Context()); err != nil || reach != source.ReachPlaced {
		t.Errorf("reach %v, %v", reach, err)
	}
	if kept, err := r.Src.Keep(t.Context()); err != nil || kept != "" {
		t.Errorf("kept %q, %v", kept, err)
	}
	Must(t, r.Src.Discard(t.Context()))
	MustSweep(t, r.Src.(source.Sweeper))
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(places[0].Path), ".*understudy*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

var errHalted = errors.New("halted here")
