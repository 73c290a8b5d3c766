package source

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
) // reached is a source of one kind, with the text that is its state.
type reached struct {
	src   Source
	write func(text string)
	read  func(path string) string // "": the live state
	fault *func(step string) error // of its swap
} // reachedFile is a source whose state is one file.
func reachedFile(t *testing.T, src Source, path string, fault *func(string) error) reached {
	return reached{src: src, fault: fault, write: func(text string) { must(t, os.WriteFile(path, []byte(text), 0o600)) }, read: func(at string) string {
		if at == "" {
			at = path
		}
		return readText(t, at)
	}}
} // reachSeen stops a swap of a source that make makes at each of its steps: how far
// it has come is told by what lies there. One that is cut off anywhere is known to
// be, can go back, and where it is whole, what it replaced can be kept.
func reachSeen(t *testing.T, make func(t *testing.T) reached) {
	t.Helper()
	var seen [ReachPlaced + 1]int
	for n, done := 0, false; !done; n++ {
		for _, keep := range []bool{false, true} {
			var reach Reach
			reach, done = reachStopped(t, make(t), n, keep)
			seen[reach]++
		}
		if t.Failed() {
			t.Fatalf("stopped at step %d", n)
		}
	}
	if seen[ReachPlaced] == 0 || seen[ReachBegun] == 0 {
		t.Errorf("reaches seen: %v", seen)
	}
} // reachStopped stops a swap before, or after, its nth step and ends it.
func reachStopped(t *testing.T, r reached, n int, keep bool) (reach Reach, done bool) {
	t.Helper()
	s, ctx := newShelf(t), t.Context()
	r.write("new")
	e, _ := s.backup(t, r.src)
	r.write("what was before")
	old, again := r.read(""), e
	if reach, err := r.src.Reach(ctx); err != nil || reach != ReachNone {
		t.Errorf("before anything is staged: %v, %v", reach, err)
	}
	s.stage(t, r.src, e)
	if reach, err := r.src.Reach(ctx); err != nil || reach != ReachStaged {
		t.Errorf("staged: %v, %v", reach, err)
	}
	steps := 0
	*r.fault = func(string) error {
		if steps++; steps > n {
			return errHalted
		}
		return nil
	}
	err := r.src.Swap(ctx)
	*r.fault = func(string) error { return nil }
	if err != nil && !errors.Is(err, errHalted) {
		t.Fatal(err)
	}
	done = err == nil
	reach, err = r.src.Reach(ctx)
	if err != nil || done && reach != ReachPlaced || !done && reach == ReachNone {
		t.Errorf("stopped: %v, %v", reach, err)
	}
	if reach == ReachPlaced && keep {
		reachKept(t, r, old)
	} else {
		must(t, r.src.SwapBack(ctx))
		if text := r.read(""); text != old {
			t.Errorf("swapped back, it holds %q", text)
		}
	}
	mustSweep(t, r.src.(Sweeper))
	if after, err := r.src.Reach(ctx); err != nil || after != ReachNone {
		t.Errorf("in the end: %v, %v", after, err)
	}
	s.stage(t, r.src, again)
	return reach, done
}

// reachKept ends a swap that is whole, keeping what it replaced, twice.
func reachKept(t *testing.T, r reached, old string) {
	t.Helper()
	ctx := t.Context()
	must(t, r.src.Swap(ctx))
	kept, err := r.src.Keep(ctx)
	must(t, err)
	if again, err := r.src.Keep(ctx); again != "" || err != nil {
		t.Errorf("kept again: %q, %v", again, err)
	}
	must(t, r.src.Discard(ctx))
	mustSweep(t, r.src.(Sweeper))
	if text := r.read(""); text == old {
		t.Errorf("the new state is gone: %q", text)
	}
	if text := r.read(kept); text != old {
		t.Errorf("kept in %s: %q", kept, text)
	}
}

// keepsNothing holds a source to that a swap which replaced nothing has nothing to
// keep.
func keepsNothing(t *testing.T, r reached) {
	t.Helper()
	s := newShelf(t)
	r.write("new")
	e, _ := s.backup(t, r.src)
	places, err := r.src.(Openable).Live()
	must(t, err)
	for _, p := range places {
		must(t, os.RemoveAll(p.Path))
	}
	s.stage(t, r.src, e)
	must(t, r.src.Swap(t.Context()))
	if reach, err := r.src.Reach(t.Context()); err != nil || reach != ReachPlaced {
		t.Errorf("reach %v, %v", reach, err)
	}
	if kept, err := r.src.Keep(t.Context()); err != nil || kept != "" {
		t.Errorf("kept %q, %v", kept, err)
	}
	must(t, r.src.Discard(t.Context()))
	mustSweep(t, r.src.(Sweeper))
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(places[0].Path), ".*understudy*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

var errHalted = errors.New("halted here")
