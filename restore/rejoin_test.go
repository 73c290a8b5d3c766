package restore

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/stream"
)

// replaced is a fake whose state can follow as it is.
type replaced struct {
	*fake
	end  stream.Position // that it was told
	nice int             // of the thread that it was told on
}

func (r *replaced) Followed(context.Context, json.RawMessage) (stream.Position, bool, error) {
	return 0, false, nil
}
func (r *replaced) Feed(context.Context, json.RawMessage, stream.Position, []byte) error { return nil }
func (r *replaced) CatchUp(context.Context, stream.Position) error                       { return nil }
func (r *replaced) Applied(context.Context) (source.Applied, error)                      { return source.Applied{}, nil }

func (r *replaced) Rejoin(ctx context.Context, e source.Entry, end stream.Position) error {
	r.end = end
	if p, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil {
		r.nice = 20 - p // as getpriority(2) gives it
	}
	r.states.staged = "half of " + stateOf(e)
	r.step("half rejoined " + r.name)
	if err := r.failure(ctx, "rejoin"); err != nil {
		r.states.staged = ""
		return err
	}
	r.states.staged = stateOf(e)
	return nil
}

func (r *replaced) Advance(ctx context.Context, rd *pack.Reader, _, e source.Entry) error {
	return r.Stage(ctx, rd, e)
}

// former is a host whose database can follow as it is.
func former(t *testing.T, dir string, d disk, step func(string)) (*host, *replaced) {
	t.Helper()
	h := newHost(t, dir, d, step)
	r := &replaced{fake: h.sources["db"]}
	for i, src := range h.set.all {
		if src.Name() == "db" {
			h.set.all[i] = r
		}
	}
	return h, r
}

// TestWhatRejoinsIsThereForTheNextStage, which builds the others.
func TestWhatRejoinsIsThereForTheNextStage(t *testing.T) {
	d := newDisk()
	h, db := former(t, memoryDir(t), d, noStep)
	got, refused, err := h.Rejoin(Polite(t.Context()), testManifest(), map[string]stream.Position{"db": 7, "uploads": 8})
	if db.nice != 19 {
		t.Errorf("its copy is made with nice %d", db.nice)
	}
	if err != nil || refused != nil || !slices.Equal(got, []string{"db"}) || db.end != 7 {
		t.Fatalf("rejoined %q, with its log up to %d: %v", got, db.end, err)
	}
	h.mustBe(t, Idle)
	if again, _, err := h.Rejoin(t.Context(), testManifest(), nil); err != nil || len(again) > 0 {
		t.Errorf("again: %q, %v", again, err)
	}
	if err := h.stage(t.Context()); err != nil || db.staged > 0 || h.sources["uploads"].staged != 1 {
		t.Errorf("staged the database %d times: %v", db.staged, err)
	}
	h.mustBe(t, Staged)
}

// TestWhatDoesNotRejoinLeavesNothing, and says why.
func TestWhatDoesNotRejoinLeavesNothing(t *testing.T) {
	d := newDisk()
	h, db := former(t, memoryDir(t), d, noStep)
	db.fail["rejoin"] = source.ErrNoRejoin
	if got, refused, err := h.Rejoin(t.Context(), testManifest(), nil); !errors.Is(refused, source.ErrNoRejoin) || err != nil || len(got) > 0 {
		t.Errorf("rejoined %q: %v, %v", got, refused, err)
	}
	db.fail["rejoin"] = errors.New("the disk is full")
	if _, refused, err := h.Rejoin(t.Context(), testManifest(), nil); refused != nil || err == nil {
		t.Errorf("a failure is told as a refusal: %v, %v", refused, err)
	}
	h.mustBe(t, Idle)
	if !d.all("old") {
		t.Errorf("the disk has %v", d)
	}
	if err := h.stage(t.Context()); err != nil || db.staged != 1 {
		t.Errorf("staged %d times: %v", db.staged, err)
	}
	if got, _, err := h.Rejoin(t.Context(), testManifest(), nil); err != nil || len(got) > 0 {
		t.Errorf("what is staged rejoins: %q, %v", got, err)
	}
	h.mustBe(t, Staged)
}

// TestACrashWhileASourceRejoinsLeavesWhatIsWhole.
func TestACrashWhileASourceRejoinsLeavesWhatIsWhole(t *testing.T) {
	for n := 1; ; n++ {
		dir, d := memoryDir(t), newDisk()
		step, _ := crashAt(n)
		h, _ := former(t, dir, d, step)
		where := run(t, func() error {
			_, _, err := h.Rejoin(t.Context(), testManifest(), nil)
			return err
		})
		if where == "" {
			if n < 4 {
				t.Errorf("only %d crashes were tried", n-1)
			}
			return
		}
		h, db := former(t, dir, d, noStep)
		if err := h.Rollback(t.Context()); err != nil {
			t.Fatalf("crash %q: %v", where, err)
		}
		h.mustBe(t, Idle)
		if staged := d["db"].staged; staged != "" && staged != "new" || d["db"].live != "old" {
			t.Errorf("crash %q: the disk has %v", where, d)
		}
		if err := errors.Join(h.stage(t.Context()), h.Swap(t.Context())); err != nil || d["db"].live != "new" {
			t.Errorf("crash %q: staged %d times: %v", where, db.staged, err)
		}
	}
}
