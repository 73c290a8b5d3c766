package restore

import (
	"errors"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
)

// mustHold checks what State says is staged.
func (h *host) mustHold(t *testing.T, want State, backup string) {
	t.Helper()
	if state, id, err := h.State(); err != nil || state != want || id != backup {
		t.Errorf("state %q of %q, %v; want %q of %q", state, id, err, want, backup)
	}
}

func mustBeReady(t *testing.T, h *host, m *backup.Manifest, want bool) {
	t.Helper()
	if ready, err := h.Ready(t.Context(), m); err != nil || ready != want {
		t.Errorf("ready %v, %v; want %v", ready, err, want)
	}
}

func (h *host) stagings() (n int) {
	for _, f := range h.sources {
		n += f.staged
	}
	return n
}

func TestAStagedBackupIsNotStagedAgain(t *testing.T) {
	dir, d := memoryDir(t), newDisk()
	if err := newHost(t, dir, d, noStep).stage(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := newHost(t, dir, d, func(step string) { t.Errorf("step %s", step) }) // a new process
	if err := errors.Join(h.stage(t.Context()), h.Rollback(t.Context())); err != nil {
		t.Fatal(err)
	}
	h.mustHold(t, Staged, "b-1")
	mustBeReady(t, h, testManifest(), true)
	if h.stagings() != 0 {
		t.Errorf("%d sources were staged again", h.stagings())
	}
	// The same id with other content is another backup.
	h = newHost(t, dir, d, noStep)
	m := testManifest()
	m.Sources[0].Root.Size = 1
	mustBeReady(t, h, m, false)
	if err := h.Stage(t.Context(), nil, m, nil); err != nil {
		t.Fatal(err)
	}
	if h.stagings() != 1 || d["uploads"].staged != oldStage {
		t.Errorf("%d sources were staged again: %v", h.stagings(), d)
	}
}

func TestAnUnchangedSourceKeepsItsStage(t *testing.T) {
	d := newDisk()
	h := newHost(t, memoryDir(t), d, noStep)
	if err := h.stage(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := testManifest()
	next.ID = "b-2"
	next.Sources[2].Root.Size = 1 // the database changed
	if err := h.Stage(t.Context(), nil, next, nil); err != nil {
		t.Fatal(err)
	}
	h.mustHold(t, Staged, "b-2")
	if got := h.stagings(); got != 4 || d["db"].staged != oldStage {
		t.Errorf("%d stagings: %v", got, d)
	}
}

func TestAStageThatSomebodyWroteToIsNotSwapped(t *testing.T) {
	for _, found := range []string{"tampered", ""} {
		d := newDisk()
		h := newHost(t, memoryDir(t), d, noStep)
		if err := h.stage(t.Context()); err != nil {
			t.Fatal(err)
		}
		d["uploads"].staged = found
		mustBeReady(t, h, testManifest(), false)
		err := h.Swap(t.Context())
		if !errors.Is(err, ErrTouched) || !strings.Contains(err.Error(), "uploads") {
			t.Errorf("swap: %v", err)
		}
		h.mustHold(t, Idle, "")
		for name, s := range d {
			if s.live != "old" || s.replaced != "" {
				t.Errorf("%s: %+v", name, *s)
			}
		}
		if err := errors.Join(h.stage(t.Context()), h.Swap(t.Context()), h.Finish(t.Context())); err != nil || !d.all("new") {
			t.Errorf("%v: %v", err, d)
		}
		if got := h.stagings(); got != 4 {
			t.Errorf("%d stagings; only the broken one was to be staged again", got)
		}
	}
}

func TestStageBuildsAnewWhatSomebodyWroteTo(t *testing.T) {
	d := newDisk()
	h := newHost(t, memoryDir(t), d, noStep)
	if err := h.stage(t.Context()); err != nil {
		t.Fatal(err)
	}
	d["prefs"].staged = "tampered"
	if err := h.stage(t.Context()); err != nil || d["prefs"].staged != "new" || h.stagings() != 4 {
		t.Errorf("%v: %v after %d stagings", err, d, h.stagings())
	}
	h.mustHold(t, Staged, "b-1")
}

func TestAFailureLeavesTheEarlierBackupStagedWhileItIsWhole(t *testing.T) {
	for _, c := range []struct {
		fails string
		keeps bool
		state State
		id    string
	}{
		{"db", true, Staged, "b-0"}, // the first one: nothing was replaced
		{"db", false, Idle, ""},     // it was being changed in place
		{"uploads", true, Idle, ""}, // db has its new stage
		{"accept db", true, Staged, "b-0"},
	} {
		d := newDisk()
		h := newHost(t, memoryDir(t), d, noStep)
		if err := stageOlder(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		name, verb := c.fails, "stage"
		if rest, ok := strings.CutPrefix(name, "accept "); ok {
			name, verb = rest, "accept"
		}
		h.sources[name].keeps = c.keeps
		h.sources[name].fail[verb] = errors.New("no luck")
		if err := h.stage(t.Context()); err == nil {
			t.Fatal("no error")
		}
		h.mustHold(t, c.state, c.id)
		delete(h.sources[name].fail, verb)
		if c.state == Staged {
			if err := errors.Join(h.Swap(t.Context()), h.Finish(t.Context())); err != nil || !d.all(oldStage) {
				t.Errorf("%s: %v: %v", c.fails, err, d)
			}
			continue
		}
		if err := h.Swap(t.Context()); !errors.Is(err, ErrState) {
			t.Errorf("%s: swap of what is left: %v", c.fails, err)
		}
		if err := errors.Join(h.stage(t.Context()), h.Swap(t.Context()), h.Finish(t.Context())); err != nil || !d.all("new") {
			t.Errorf("%s: %v: %v", c.fails, err, d)
		}
	}
}

func TestAFingerprintThatCannotBeSeenLosesNothing(t *testing.T) {
	d := newDisk()
	h := newHost(t, memoryDir(t), d, noStep)
	if err := stageOlder(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	h.sources["db"].fail["fingerprint"] = errors.New("the server is down")
	for _, do := range []func(*host) error{stageIt, swapIt} {
		if err := do(h); err == nil || errors.Is(err, ErrTouched) || !strings.Contains(err.Error(), "the server is down") {
			t.Errorf("got %v", err)
		}
		h.mustHold(t, Staged, "b-0")
	}
	delete(h.sources["db"].fail, "fingerprint")
	if err := errors.Join(swapIt(h), h.Finish(t.Context())); err != nil || !d.all(oldStage) {
		t.Errorf("%v: %v", err, d)
	}
}

func TestDropLeavesNothingAndTouchesNoSwap(t *testing.T) {
	d := newDisk()
	h := newHost(t, memoryDir(t), d, noStep)
	if err := errors.Join(h.Drop(t.Context()), h.stage(t.Context()), h.Drop(t.Context()), h.Drop(t.Context())); err != nil || !d.all("old") {
		t.Fatalf("%v: %v", err, d)
	}
	h.mustHold(t, Idle, "")
	if err := errors.Join(h.stage(t.Context()), h.Swap(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := h.Drop(t.Context()); !errors.Is(err, ErrState) {
		t.Errorf("drop of a swap: %v", err)
	}
	if err := h.Rollback(t.Context()); err != nil || !d.all("old") {
		t.Errorf("%v: %v", err, d)
	}
}

func TestCheckSaysWhatStageWould(t *testing.T) {
	d := newDisk()
	h := newHost(t, memoryDir(t), d, noStep)
	h.sources["db"].fail["accept"] = errors.New("too old a server")
	if err := h.Check(t.Context(), testManifest()); err == nil || !strings.Contains(err.Error(), "too old a server") {
		t.Errorf("got %v", err)
	}
	delete(h.sources["db"].fail, "accept")
	h.sources["uploads"].space = 1 << 30
	h.stager.statFS = func(string) (fileSystem, error) { return fileSystem{free: 1 << 20}, nil }
	if err := h.Check(t.Context(), testManifest()); !errors.Is(err, ErrNoSpace) {
		t.Errorf("got %v", err)
	}
	missing := &backup.Manifest{ID: "b-1", Sources: testManifest().Sources[1:]}
	if err := h.Check(t.Context(), missing); !errors.Is(err, ErrSources) {
		t.Errorf("got %v", err)
	}
	// What is staged already needs no room.
	h.sources["uploads"].space = 0
	if err := h.stage(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.sources["uploads"].space = 1 << 30
	if err := h.Check(t.Context(), testManifest()); err != nil {
		t.Errorf("got %v", err)
	}
}
