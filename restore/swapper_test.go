package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
)

// disk is what survives a crash: the states of every source. An empty string
// is no state.
type disk map[string]*states

type states struct{ live, staged, replaced, kept string }

// oldStage is what a stage of another backup than the one under test is called.
const oldStage = "older"

func newDisk() disk {
	return disk{"db": {live: "old"}, "uploads": {live: "old"}, "prefs": {live: "old"}}
}

// all tells whether every source is in one state, with nothing left over.
func (d disk) all(state string) bool {
	for _, s := range d {
		if *s != (states{live: state}) {
			return false
		}
	}
	return true
}

func (d disk) String() string {
	var b strings.Builder
	for name, s := range d {
		fmt.Fprintf(&b, "%s: %+v; ", name, *s)
	}
	return b.String()
}

// fake is a source on a disk. Its steps are as small as those of a real one:
// each can be parted from the next by a crash.
type fake struct {
	source.Source // no test dumps or checks a fake
	name, kind    string
	states        *states
	step          func(string)
	fail          map[string]error // by verb
	space         int64
	folder        string
	keeps         bool // a stage that fails leaves the earlier one
	staged        int  // how often it was
}

func (f *fake) Name() string { return f.name }
func (f *fake) Kind() string { return f.kind }

func (f *fake) Space(source.Entry) (string, int64) { return f.folder, f.space }

func (f *fake) Accept(ctx context.Context, _ source.Entry) error { return f.failure(ctx, "accept") }

// state is what a fake's entry stands for.
func stateOf(e source.Entry) string {
	if e.Root.Size == 1 {
		return oldStage
	}
	return "new"
}

func (f *fake) Stage(ctx context.Context, _ *pack.Reader, e source.Entry) error {
	f.staged++
	if f.keeps {
		if err := f.failure(ctx, "stage"); err != nil {
			return err
		}
	}
	f.states.staged = "half of " + stateOf(e)
	f.step("half staged " + f.name)
	if err := f.failure(ctx, "stage"); err != nil {
		return err
	}
	f.states.staged = stateOf(e)
	return nil
}

// StageMoment implements source.MomentStager.
func (f *fake) StageMoment(ctx context.Context, _ *pack.Reader, _ source.Entry, m source.Moment) (source.Reached, error) {
	f.staged++
	if err := f.failure(ctx, "stage"); err != nil {
		return source.Reached{}, err
	}
	f.states.staged = "then"
	return source.Reached{Position: m.Time.Format(time.TimeOnly)}, nil
}

// Fingerprint shows that somebody wrote to a stage by what the stage holds then.
func (f *fake) Fingerprint(ctx context.Context) (string, error) {
	if strings.HasPrefix(f.states.staged, "half of ") {
		return "", f.failure(ctx, "fingerprint")
	}
	return f.states.staged, f.failure(ctx, "fingerprint")
}

func (f *fake) Swap(ctx context.Context) error {
	if err := f.failure(ctx, "swap"); err != nil {
		return err
	}
	if f.states.staged == "" {
		return nil // done before
	}
	if f.states.replaced == "" {
		f.states.live, f.states.replaced = "", f.states.live
		f.step("half swapped " + f.name)
	}
	f.states.live, f.states.staged = f.states.staged, ""
	return nil
}

func (f *fake) SwapBack(ctx context.Context) error {
	if err := f.failure(ctx, "swap back"); err != nil {
		return err
	}
	f.states.staged = ""
	if f.states.replaced == "" {
		return nil
	}
	f.states.live = ""
	f.step("half swapped back " + f.name)
	f.states.live, f.states.replaced = f.states.replaced, ""
	return nil
}

func (f *fake) Discard(ctx context.Context) error {
	if err := f.failure(ctx, "discard"); err != nil {
		return err
	}
	f.states.staged = ""
	f.step("half discarded " + f.name)
	f.states.replaced = ""
	return nil
}

func (f *fake) Reach(ctx context.Context) (source.Reach, error) {
	s := f.states
	switch {
	case s.replaced != "" && s.live != "" && s.staged == "":
		return source.ReachPlaced, f.failure(ctx, "reach")
	case s.replaced != "":
		return source.ReachBegun, f.failure(ctx, "reach")
	case s.staged != "":
		return source.ReachStaged, f.failure(ctx, "reach")
	}
	return source.ReachNone, f.failure(ctx, "reach")
}

func (f *fake) Keep(ctx context.Context) (string, error) {
	if err := f.failure(ctx, "keep"); err != nil || f.states.replaced == "" {
		return "", err
	}
	f.states.kept, f.states.replaced = f.states.replaced, ""
	f.step("kept " + f.name)
	return "kept/" + f.name, nil
}

func (f *fake) failure(ctx context.Context, verb string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.fail[verb]
}

// host is one process' view of a disk and a journal.
type host struct {
	*Swapper
	sources map[string]*fake
}

func newHost(t *testing.T, dir string, d disk, step func(string)) *host {
	t.Helper()
	h := &host{sources: make(map[string]*fake)}
	var sources []source.Source
	for _, id := range [][2]string{{"postgres", "db"}, {"directory", "uploads"}, {"sqlite", "prefs"}} {
		f := &fake{kind: id[0], name: id[1], states: d[id[1]], step: step, fail: map[string]error{}, folder: "/srv"}
		h.sources[f.name] = f
		sources = append(sources, f)
	}
	s, err := NewSwapper(dir, sources)
	if err != nil {
		t.Fatal(err)
	}
	s.Step = step
	s.stager.statFS = func(string) (fileSystem, error) { return fileSystem{device: 1, free: 1 << 40}, nil }
	h.Swapper = s
	return h
}

func noStep(string) {}

func testManifest() *backup.Manifest {
	return &backup.Manifest{ID: "b-1", Sources: []source.Entry{
		{Kind: "directory", Name: "uploads", Size: 10}, {Kind: "sqlite", Name: "prefs", Size: 20, Facts: []byte("{}")}, {Kind: "postgres", Name: "db", Size: 30},
	}}
}

func (h *host) stage(ctx context.Context) error { return h.Stage(ctx, nil, testManifest(), nil) }

// older is another backup than the one under test.
func older() *backup.Manifest {
	m := testManifest()
	m.ID = "b-0"
	for i := range m.Sources {
		m.Sources[i].Root.Size = 1
	}
	return m
}

func (h *host) mustBe(t *testing.T, want State) {
	t.Helper()
	got, _, err := h.State()
	if err != nil || got != want {
		t.Errorf("state %q, %v; want %q", got, err, want)
	}
}

// crash is what a step panics with.
type crash struct{ at string }

// crashAt gives a step function that crashes at the n-th step, counting from
// one, and the number of steps so far.
func crashAt(n int) (step func(string), steps *int) {
	steps = new(int)
	return func(name string) {
		if *steps++; *steps == n {
			panic(crash{name})
		}
	}, steps
}

// run runs do up to its end or to a crash, and tells where it crashed.
func run(t *testing.T, do func() error) (crashed string) {
	t.Helper()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case crash:
			crashed = p.at
		default:
			panic(p)
		}
	}()
	if err := do(); err != nil {
		t.Errorf("without a crash: %v", err)
	}
	return ""
}

// sequence is a part of a promotion, and how a new process recovers from its
// crash: to all old or to all new.
type sequence struct {
	name    string
	before  func(ctx context.Context, h *host) error // not crashed
	do      func(ctx context.Context, h *host) error // crashed at every step
	recover func(ctx context.Context, h *host) error
	want    string
	every   int // which of the recovery's steps to crash at, where it has many; 0 for all
}

var sequences = []sequence{
	{
		name:    "stage, then roll back",
		before:  func(context.Context, *host) error { return nil },
		do:      func(ctx context.Context, h *host) error { return h.stage(ctx) },
		recover: dropAll,
		want:    "old",
	},
	{
		name:    "swap, then roll back",
		before:  func(ctx context.Context, h *host) error { return h.stage(ctx) },
		do:      func(ctx context.Context, h *host) error { return h.Swap(ctx) },
		recover: dropAll,
		want:    "old",
	},
	{
		name:   "swap, then swap again and finish",
		before: func(ctx context.Context, h *host) error { return h.stage(ctx) },
		do:     func(ctx context.Context, h *host) error { return h.Swap(ctx) },
		recover: func(ctx context.Context, h *host) error {
			switch state, _, err := h.State(); {
			case err != nil:
				return err
			case state == Idle:
				return nil // the recovery was journalled as done
			case state != Finishing:
				if err := h.Swap(ctx); err != nil {
					return err
				}
			}
			return h.Finish(ctx)
		},
		want: "new",
	},
	{
		name:    "roll back, then roll back",
		before:  func(ctx context.Context, h *host) error { return errors.Join(h.stage(ctx), h.Swap(ctx)) },
		do:      func(ctx context.Context, h *host) error { return h.Rollback(ctx) },
		recover: func(ctx context.Context, h *host) error { return h.Rollback(ctx) },
		want:    "old",
	},
	{
		name:    "finish, then finish",
		before:  func(ctx context.Context, h *host) error { return errors.Join(h.stage(ctx), h.Swap(ctx)) },
		do:      func(ctx context.Context, h *host) error { return h.Finish(ctx) },
		recover: func(ctx context.Context, h *host) error { return h.Finish(ctx) },
		want:    "new",
	},
	{
		name:    "stage over a stage, then roll back",
		before:  stageOlder,
		do:      func(ctx context.Context, h *host) error { return h.stage(ctx) },
		recover: dropAll,
		want:    "old",
	},
	{
		name:   "bring a stage forward, then stage again, swap and finish",
		before: stageOlder,
		do:     func(ctx context.Context, h *host) error { return h.stage(ctx) },
		recover: func(ctx context.Context, h *host) error {
			state, _, err := h.State()
			if err == nil && !state.replaced() {
				err = h.stage(ctx)
			}
			if err == nil && state != Finishing {
				err = h.Swap(ctx)
			}
			return errors.Join(err, h.Finish(ctx))
		},
		want:  "new",
		every: 4,
	},
	{
		name:    "drop, then drop",
		before:  func(ctx context.Context, h *host) error { return h.stage(ctx) },
		do:      func(ctx context.Context, h *host) error { return h.Drop(ctx) },
		recover: dropAll,
		want:    "old",
	},
}

func stageOlder(ctx context.Context, h *host) error { return h.Stage(ctx, nil, older(), nil) }

// dropAll rolls back and drops what that keeps.
func dropAll(ctx context.Context, h *host) error {
	return errors.Join(h.Rollback(ctx), h.Drop(ctx))
}

func TestACrashAtAnyPointEndsAllOldOrAllNew(t *testing.T) {
	for _, seq := range sequences {
		t.Run(seq.name, func(t *testing.T) {
			crashes := 0
			for n := 1; ; n++ {
				// The recovery crashes at every step too, and is then run again.
				where, recoveries := crashOnce(t, seq, n, 0)
				if where == "" {
					break
				}
				every := max(1, seq.every)
				for m := 1 + n%every; m <= recoveries; m += every {
					crashOnce(t, seq, n, m)
					crashes++
				}
			}
			if crashes < 20 {
				t.Errorf("only %d pairs of crashes were tried", crashes)
			}
		})
	}
}

// crashOnce runs a sequence with a crash at step n of it, recovers in a new
// process, with a crash at step m of that (0: none), and then in another. It
// tells where the first crash was, and how many steps the first recovery had.
func crashOnce(t *testing.T, seq sequence, n, m int) (where string, recoverySteps int) {
	t.Helper()
	ctx, dir, d := context.Background(), memoryDir(t), newDisk()
	if err := seq.before(ctx, newHost(t, dir, d, noStep)); err != nil {
		t.Fatal(err)
	}
	step, _ := crashAt(n)
	first := newHost(t, dir, d, step)
	if where = run(t, func() error { return seq.do(ctx, first) }); where == "" {
		return "", 0
	}
	step, steps := crashAt(m)
	second := newHost(t, dir, d, step)
	again := run(t, func() error { return seq.recover(ctx, second) })
	last := second
	if m > 0 {
		last = newHost(t, dir, d, noStep)
		run(t, func() error { return seq.recover(ctx, last) })
	}
	if !d.all(seq.want) {
		t.Errorf("crash %q, then %q: not all %s: %v", where, again, seq.want, d)
	}
	last.mustBe(t, Idle)
	return where, *steps
}

func TestAFailedSwapLeavesAllOld(t *testing.T) {
	for _, name := range []string{"db", "uploads", "prefs"} {
		t.Run(name, func(t *testing.T) {
			d := newDisk()
			h := newHost(t, memoryDir(t), d, noStep)
			if err := h.stage(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.sources[name].fail["swap"] = errors.New("no luck")
			err := h.Swap(t.Context())
			if err == nil || !strings.Contains(err.Error(), "swap "+name+": no luck") {
				t.Errorf("got %v", err)
			}
			if !d.all("old") {
				t.Error(d)
			}
			h.mustBe(t, Idle)
		})
	}
}

func TestACancelledSwapLeavesAllOld(t *testing.T) {
	for _, at := range []struct {
		point string
		nth   int
	}{{"source.swap.before", 1}, {"source.swap.after", 1}, {"source.swap.after", 2}, {"source.swap.before", 3}} {
		d := newDisk()
		ctx, cancel := context.WithCancel(t.Context())
		passed := 0
		h := newHost(t, memoryDir(t), d, func(point string) {
			if point != at.point {
				return
			}
			if passed++; passed == at.nth {
				cancel()
			}
		})
		if err := h.stage(ctx); err != nil {
			t.Fatal(err)
		}
		if err := h.Swap(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at %v: %v", at, err)
		}
		if !d.all("old") {
			t.Errorf("cancelled at %v: %v", at, d)
		}
		cancel()
	}
}

func TestAFailedStageLeavesWhatIsWholeForTheNext(t *testing.T) {
	d := newDisk()
	h := newHost(t, memoryDir(t), d, noStep)
	h.sources["prefs"].fail["stage"] = errors.New("no luck")
	if err := h.stage(t.Context()); err == nil || !strings.Contains(err.Error(), "stage prefs: no luck") {
		t.Errorf("got %v", err)
	}
	if got := *d["prefs"]; got != (states{live: "old"}) {
		t.Errorf("prefs: %+v", got)
	}
	h.mustBe(t, Idle)
	delete(h.sources["prefs"].fail, "stage")
	if err := h.stage(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.mustBe(t, Staged)
	for name, want := range map[string]int{"db": 1, "uploads": 1, "prefs": 2} {
		if got := h.sources[name].staged; got != want {
			t.Errorf("%s was staged %d times, want %d", name, got, want)
		}
	}
	if err := h.Drop(t.Context()); err != nil || !d.all("old") {
		t.Errorf("got %v, %v", err, d)
	}
}

func TestAFailedStepBackIsTriedAgain(t *testing.T) {
	for _, verb := range []string{"swap back", "discard"} {
		t.Run(verb, func(t *testing.T) {
			d := newDisk()
			h := newHost(t, memoryDir(t), d, noStep)
			if err := errors.Join(h.stage(t.Context()), h.Swap(t.Context())); err != nil {
				t.Fatal(err)
			}
			back, want, between := h.Rollback, "old", Restoring
			if verb == "discard" {
				back, want, between = h.Finish, "new", Finishing
			}
			h.sources["uploads"].fail[verb] = errors.New("no luck")
			if err := back(t.Context()); err == nil || !strings.Contains(err.Error(), verb+" uploads: no luck") {
				t.Errorf("got %v", err)
			}
			h.mustBe(t, between)
			if err := h.Whole(); errors.Is(err, ErrState) != (between == Restoring) {
				t.Errorf("half-way back, and what is in place is said to be whole: %v", err)
			}
			if err := h.stage(t.Context()); verb == "swap back" && !errors.Is(err, ErrState) || verb == "discard" && !strings.Contains(fmt.Sprint(err), "discard uploads: no luck") {
				t.Errorf("staging meanwhile: %v", err)
			}
			delete(h.sources["uploads"].fail, verb)
			if err := back(t.Context()); err != nil || !d.all(want) {
				t.Errorf("got %v, %v", err, d)
			}
			if err := h.Whole(); err != nil {
				t.Error(err)
			}
			h.mustBe(t, Idle)
		})
	}
}

func TestStepsOutOfTurnAreRefused(t *testing.T) {
	ctx := t.Context()
	for _, c := range []struct {
		name  string
		first []func(*host) error
		then  func(*host) error
		want  error
	}{
		{"rollback of nothing", nil, func(h *host) error { return h.Rollback(ctx) }, nil},
		{"finish of nothing", nil, func(h *host) error { return h.Finish(ctx) }, nil},
		{"swap of nothing", nil, func(h *host) error { return h.Swap(ctx) }, ErrState},
		{"finish of a stage", []func(*host) error{stageIt}, func(h *host) error { return h.Finish(ctx) }, ErrState},
		{"swap twice", []func(*host) error{stageIt, swapIt}, swapIt, nil},
		{"stage over a swap", []func(*host) error{stageIt, swapIt}, stageIt, ErrState},
		{"rollback twice", []func(*host) error{stageIt, swapIt, rollbackIt}, rollbackIt, nil},
		{"finish after rollback", []func(*host) error{stageIt, swapIt, rollbackIt}, func(h *host) error { return h.Finish(ctx) }, nil},
	} {
		h := newHost(t, memoryDir(t), newDisk(), noStep)
		for _, step := range c.first {
			if err := step(h); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		if err := c.then(h); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func stageIt(h *host) error    { return h.stage(context.Background()) }
func swapIt(h *host) error     { return h.Swap(context.Background()) }
func rollbackIt(h *host) error { return h.Rollback(context.Background()) }

func TestARollbackIsRefusedOnceFinishHasBegun(t *testing.T) {
	d := newDisk()
	h := newHost(t, memoryDir(t), d, noStep)
	if err := errors.Join(stageIt(h), swapIt(h)); err != nil {
		t.Fatal(err)
	}
	h.sources["db"].fail["discard"] = errors.New("no luck")
	if err := h.Finish(t.Context()); err == nil {
		t.Fatal("no error")
	}
	if err := h.Rollback(t.Context()); !errors.Is(err, ErrState) {
		t.Errorf("got %v", err)
	}
	for name, s := range d {
		if s.live != "new" {
			t.Errorf("%s is %s", name, s.live)
		}
	}
}

func TestSourcesThatDifferAreNamedBeforeAnythingIsTouched(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(m *backup.Manifest)
		want []string
	}{
		{"one more in the backup", func(m *backup.Manifest) {
			m.Sources = append(m.Sources, source.Entry{Kind: "command", Name: "queue"})
		}, []string{"the backup has command queue", "not configured here"}},
		{"one fewer in the backup", func(m *backup.Manifest) { m.Sources = m.Sources[1:] }, []string{"configured here is directory uploads"}},
		{"another kind", func(m *backup.Manifest) { m.Sources[1].Kind = "postgres" }, []string{"postgres prefs", "sqlite prefs"}},
		{"a name twice", func(m *backup.Manifest) { m.Sources[1] = m.Sources[0] }, []string{"same name"}},
	} {
		d := newDisk()
		h := newHost(t, memoryDir(t), d, noStep)
		m := testManifest()
		c.edit(m)
		err := h.Stage(t.Context(), nil, m, nil)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say %q", c.name, err, want)
			}
		}
		if !d.all("old") {
			t.Errorf("%s: %v", c.name, d)
		}
		h.mustBe(t, Idle)
	}
}

func TestAnUnfinishedSwapOfOtherSourcesIsNoticed(t *testing.T) {
	dir, d := memoryDir(t), newDisk()
	h := newHost(t, dir, d, noStep)
	if err := stageIt(h); err != nil {
		t.Fatal(err)
	}
	fewer := []source.Source{h.sources["db"], h.sources["uploads"]}
	// A mere stage does not stand in the way of a new configuration, but must
	// not be swapped in under it.
	s, err := NewSwapper(dir, fewer)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Swap(t.Context()); !errors.Is(err, ErrSources) || !strings.Contains(err.Error(), "sqlite prefs") {
		t.Errorf("swapping: %v", err)
	}
	if err := swapIt(h); err != nil {
		t.Fatal(err)
	}
	if _, err := NewSwapper(dir, fewer); !errors.Is(err, ErrSources) || !strings.Contains(err.Error(), "b-1") {
		t.Errorf("opening: %v", err)
	}
	for do, err := range map[string]error{"rollback": s.Rollback(t.Context()), "finish": s.Finish(t.Context())} {
		if !errors.Is(err, ErrSources) {
			t.Errorf("%s: %v", do, err)
		}
	}
}

func TestTwoSourcesOfOneNameAreRefused(t *testing.T) {
	if _, err := NewSwapper(t.TempDir(), []source.Source{&fake{name: "db"}, &fake{name: "db"}}); err == nil {
		t.Error("no error")
	}
}

func TestAJournalThatWasHalfWrittenIsRemoved(t *testing.T) {
	dir, d := memoryDir(t), newDisk()
	if err := os.WriteFile(filepath.Join(dir, ".swap.json123"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHost(t, dir, d, noStep)
	h.mustBe(t, Idle)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestADamagedJournalStopsEverything(t *testing.T) {
	dir, d := memoryDir(t), newDisk()
	h := newHost(t, dir, d, noStep)
	if err := errors.Join(stageIt(h), swapIt(h)); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"{", `{"format":2,"state":"staged"}`} {
		if err := os.WriteFile(filepath.Join(dir, "swap.json"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, do := range []func(*host) error{stageIt, swapIt, rollbackIt} {
			if err := do(h); err == nil || !strings.Contains(err.Error(), "swap journal") {
				t.Errorf("%s: got %v", content, err)
			}
		}
		if _, err := NewSwapper(dir, nil); err == nil {
			t.Errorf("%s: opened", content)
		}
	}
}

func TestStagingChecksSpaceOverEachFileSystem(t *testing.T) {
	const mib = 1 << 20
	devices := map[string]fileSystem{
		"/srv": {device: 1, free: 100 * mib}, "/srv/app": {device: 1, free: 100 * mib}, "/var": {device: 2, free: 100 * mib},
	}
	place := func(h *host, name, folder string, space int64) {
		h.sources[name].folder, h.sources[name].space = folder, space
	}
	for _, c := range []struct {
		name  string
		place func(h *host)
		fits  bool
	}{
		{"each fits, on two file systems", func(h *host) {
			place(h, "db", "/var", 30*mib)
			place(h, "uploads", "/srv", 20*mib)
			place(h, "prefs", "/srv/app", 16*mib)
		}, true},
		{"each fits, but not together", func(h *host) {
			place(h, "uploads", "/srv", 20*mib)
			place(h, "prefs", "/srv/app", 17*mib)
		}, false},
		{"one does not fit", func(h *host) { place(h, "db", "/var", 37*mib) }, false},
		{"nothing is needed in a folder that cannot be looked at", func(h *host) { place(h, "db", "/nowhere", 0) }, true},
	} {
		d := newDisk()
		h := newHost(t, memoryDir(t), d, noStep)
		h.stager.statFS = func(path string) (fileSystem, error) {
			fsys, ok := devices[path]
			if !ok {
				return fsys, os.ErrPermission
			}
			return fsys, nil
		}
		c.place(h)
		err := h.stage(t.Context())
		if c.fits != (err == nil) || err != nil && !errors.Is(err, ErrNoSpace) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && !d.all("old") {
			t.Errorf("%s: %v", c.name, d)
		}
	}
}

func TestAnEarlierStageGivesUpItsSpace(t *testing.T) {
	d := newDisk()
	h := newHost(t, memoryDir(t), d, noStep)
	if err := stageOlder(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	h.sources["db"].space = 100 << 20
	h.stager.statFS = func(string) (fileSystem, error) {
		if d["db"].staged != "" {
			return fileSystem{free: 80 << 20}, nil
		}
		return fileSystem{free: 180 << 20}, nil
	}
	if err := stageIt(h); err != nil {
		t.Error(err)
	}
	h.mustBe(t, Staged)
}

func TestStagingReportsProgress(t *testing.T) {
	h := newHost(t, memoryDir(t), newDisk(), noStep)
	var seen []backup.Progress
	if err := h.Stage(t.Context(), nil, testManifest(), func(p backup.Progress) { seen = append(seen, p) }); err != nil {
		t.Fatal(err)
	}
	if first := (backup.Progress{Step: "postgres db", Total: 60}); seen[0] != first {
		t.Errorf("first %+v", seen[0])
	}
	if last := (backup.Progress{Step: "sqlite prefs", Done: 60, Total: 60}); seen[len(seen)-1] != last {
		t.Errorf("last %+v", seen[len(seen)-1])
	}
}

func TestFreeSpaceIsThatOfTheNearestFolderThatExists(t *testing.T) {
	dir := t.TempDir()
	there, err := statFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	missing, err := statFS(filepath.Join(dir, "not", "yet"))
	if err != nil || missing.device != there.device || missing.free <= 0 {
		t.Errorf("got %+v, %v", missing, err)
	}
}

// TestAMomentIsStagedForASwapAlone: the sources that are brought to it are built anew, and
// those that are not stay as they are staged. It is no stage of a backup: whatever is staged
// after it was given up is built anew.
func TestAMomentIsStagedForASwapAlone(t *testing.T) {
	dir, d := t.TempDir(), newDisk()
	h := newHost(t, dir, d, noStep)
	ctx, m := t.Context(), testManifest()
	if err := h.stage(ctx); err != nil {
		t.Fatal(err)
	}
	parts := map[string]Part{"db": {Entry: m.Sources[2], Moment: &source.Moment{Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}}}
	reached, err := h.StageMoment(ctx, nil, m, parts, nil)
	if err != nil || len(reached) != 1 || reached["db"].Position != "12:00:00" {
		t.Fatalf("%+v, %v", reached, err)
	}
	if d["db"].staged != "then" || d["uploads"].staged != "new" || h.sources["uploads"].staged != 1 {
		t.Errorf("%s; uploads was staged %d times", d, h.sources["uploads"].staged)
	}
	if state, id, err := h.State(); state != Staged || id == m.ID || err != nil {
		t.Errorf("state %q of %q, %v", state, id, err)
	}
	if ready, err := h.Ready(ctx, m); ready || err != nil {
		t.Errorf("the stage of a moment is taken for that of the backup: %v", err)
	}
	again := newHost(t, dir, d, noStep)
	if err := errors.Join(again.Rollback(ctx), again.stage(ctx)); err != nil || d["db"].staged != "new" || again.sources["uploads"].staged != 0 {
		t.Errorf("after it was given up: %s, %v", d, err)
	}
	if _, err := again.StageMoment(ctx, nil, m, parts, nil); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(again.Swap(ctx), again.Finish(ctx)); err != nil || d["db"].live != "then" || d["uploads"].live != "new" {
		t.Errorf("swapped in: %s, %v", d, err)
	}
	again.sources["db"].fail["stage"] = errors.New("the base is damaged")
	if _, err := again.StageMoment(ctx, nil, m, parts, nil); err == nil || !strings.Contains(err.Error(), "stage db: the base is damaged") {
		t.Errorf("a base that is damaged: %v", err)
	}
	again.mustBe(t, Idle)
}
