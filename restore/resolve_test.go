package restore

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
)

// interruptions are what a crash may interrupt, and what is known of its
// promotion by then.
var interruptions = []struct {
	name    string
	before  func(ctx context.Context, h *host) error // not crashed
	do      func(ctx context.Context, h *host) error // crashed at every step
	verdict Verdict
}{
	{"staging", nil, stageNow, Abandoned},
	{"a swap", stageNow, swapNow, Abandoned},
	{"a rollback", swapped, func(ctx context.Context, h *host) error { return h.Rollback(ctx) }, Abandoned},
	{"the end of a promotion that has committed", swapped, func(ctx context.Context, h *host) error { return h.Finish(ctx) }, Committed},
}

func stageNow(ctx context.Context, h *host) error { return h.stage(ctx) }

func swapNow(ctx context.Context, h *host) error { return h.Swap(ctx) }

func swapped(ctx context.Context, h *host) error { return errors.Join(h.stage(ctx), h.Swap(ctx)) }

// TestWhateverIsInterruptedCanBeEnded crashes a swap at each step. Whoever comes
// next, with the journal and knowledge of the promotion, with the journal alone,
// or with neither, ends it in a whole state, loses no old state that may still be
// needed, and can stage again. That too may crash anywhere.
func TestWhateverIsInterruptedCanBeEnded(t *testing.T) {
	for i := range interruptions {
		for _, known := range []struct {
			name             string
			verdict, journal bool
		}{{"all is known", true, true}, {"the promotion is not known", false, true}, {"nothing is known", false, false}} {
			t.Run(interruptions[i].name+", "+known.name, func(t *testing.T) {
				crashes := 0
				for n := 1; ; n++ {
					where, steps := interruptOnce(t, i, known.verdict, known.journal, n, 0)
					if where == "" {
						break
					}
					for m := 1; m <= steps; m++ {
						interruptOnce(t, i, known.verdict, known.journal, n, m)
						crashes++
					}
				}
				t.Logf("%d pairs of crashes", crashes)
			})
		}
	}
}

func interruptOnce(t *testing.T, i int, verdict, journal bool, n, m int) (where string, steps int) {
	t.Helper()
	seq := interruptions[i]
	ctx, dir, d := context.Background(), memoryDir(t), newDisk()
	if seq.before != nil {
		if err := seq.before(ctx, newHost(t, dir, d, noStep)); err != nil {
			t.Fatal(err)
		}
	}
	step, _ := crashAt(n)
	first := newHost(t, dir, d, step)
	if where = run(t, func() error { return seq.do(ctx, first) }); where == "" {
		return "", 0
	}
	if !journal {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	known := NotKnown
	if verdict {
		known = seq.verdict
	}
	gone := map[string]bool{} // old states that were given up before the crash
	for name, s := range d {
		gone[name] = s.live != "old" && s.replaced != "old"
	}
	end := func(h *host) error {
		r, err := h.Resolution(ctx, known)
		if err == nil {
			_, err = h.Resolve(ctx, r)
		}
		return err
	}
	if !journal {
		untouched(t, d, newHost(t, dir, d, noStep))
	}
	step, count := crashAt(m)
	second := newHost(t, dir, d, step)
	again := run(t, func() error { return end(second) })
	steps = *count
	last := newHost(t, dir, d, noStep)
	if again != "" {
		run(t, func() error { return end(last) })
	}
	for name, s := range d {
		if s.replaced != "" || s.live != "old" && s.live != "new" {
			t.Errorf("crash %q, then %q: %s is %+v", where, again, name, *s)
		}
		if s.live != "old" && s.kept != "old" && !gone[name] && (known != Committed && !finishing(where)) {
			t.Errorf("crash %q, then %q: what %s was before is lost: %+v", where, again, name, *s)
		}
		if verdict && seq.verdict == Abandoned && s.live != "old" {
			t.Errorf("crash %q, then %q: %s did not come back: %+v", where, again, name, *s)
		}
		if verdict && seq.verdict == Committed && s.live != "new" {
			t.Errorf("crash %q, then %q: the promoted state of %s is gone: %+v", where, again, name, *s)
		}
	}
	if err := errors.Join(last.stage(ctx), last.Swap(ctx), last.Finish(ctx)); err != nil {
		t.Errorf("crash %q, then %q: nothing can be swapped any more: %v", where, again, err)
	}
	return where, steps
}

// untouched looks that nothing is staged, or dropped, over a swap of which the
// journal does not know.
func untouched(t *testing.T, d disk, h *host) {
	t.Helper()
	was, replaced := map[string]states{}, false
	for name, s := range d {
		was[name] = *s
		replaced = replaced || s.replaced != ""
	}
	if !replaced {
		return
	}
	for name, err := range map[string]error{"stage": h.stage(t.Context()), "stage again": stageOlder(t.Context(), h)} {
		if !errors.Is(err, source.ErrUnfinished) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := h.Drop(t.Context()); err != nil {
		t.Errorf("drop: %v", err)
	}
	for name, s := range d {
		if was[name] != *s {
			t.Errorf("%s was %+v, and is %+v", name, was[name], *s)
		}
	}
}

// finishing tells whether the journal said that what was replaced goes.
func finishing(where string) bool {
	switch where {
	case "swapper.finishing.after", "source.discard.before", "source.discard.after", "swapper.idle.before":
		return true
	}
	return len(where) > 4 && where[:4] == "half"
}

// What cannot be known now is not guessed.
func TestAnEndIsNotGuessed(t *testing.T) {
	d := newDisk()
	h := newHost(t, memoryDir(t), d, noStep)
	if err := swapped(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	h.sources["db"].fail["reach"] = errors.New("the server is down")
	if _, err := h.Resolution(t.Context(), Abandoned); err == nil {
		t.Error("a source that cannot be looked at was guessed at")
	}
	delete(h.sources["db"].fail, "reach")
	h.sources["db"].fail["swap back"] = errors.New("the server is down")
	if _, err := h.Resolve(t.Context(), Back); err == nil || d["uploads"].live != "old" || d["db"].replaced != "old" {
		t.Errorf("%v: %v", err, d)
	}
	delete(h.sources["db"].fail, "swap back")
	r, err := h.Resolution(t.Context(), Abandoned)
	if err != nil || r != Back {
		t.Fatalf("%v, %v", r, err)
	}
	if _, err := h.Resolve(t.Context(), r); err != nil || !d.all("old") {
		t.Errorf("%v: %v", err, d)
	}
}
