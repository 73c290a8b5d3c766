package watch

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
)

// fake is an instance and its bucket.
type fake struct {
	now      ha.Now
	core     ha.Status
	shared   *ha.Config
	schedule Schedule
	inForce  int
	lacks    []string
	manifest *backup.Manifest
	takeover *control.Takeover
	back     bool

	moved   []string // aside
	failure error
	full    bool

	noted    []string
	cleared  []string // the folders of these sources
	troubles map[string]string
	changed  int
	looks    int
	asked    int // for a takeover
}

func newFake() *fake {
	newest := &backup.Ref{ID: "b1", Time: time.Unix(1e9, 0)}
	c := ha.DefaultConfig()
	return &fake{
		troubles: map[string]string{},
		now:      ha.Now{Mono: time.Hour, Boot: time.Hour, Wall: time.Unix(1e9, 0)}, shared: &c, manifest: &backup.Manifest{},
		core: ha.Status{Role: ha.RoleStandby, Head: &ha.Head{Epoch: 1, Newest: newest}},
	}
}

func (f *fake) pass(d time.Duration) {
	f.now.Mono, f.now.Boot, f.now.Wall = f.now.Mono+d, f.now.Boot+d, f.now.Wall.Add(d)
}

func (f *fake) Now() ha.Now     { return f.now }
func (f *fake) Boot() string    { return "" }
func (f *fake) View() ha.Status { return f.core }
func (f *fake) Changed()        { f.changed++ }
func (f *fake) Note(_ context.Context, level event.Level, kind, text string, _ map[string]any) {
	f.noted = append(f.noted, string(level)+" "+kind+": "+text)
}
func (f *fake) Trouble(_ context.Context, kind, key, text string) { f.troubles[kind+" "+key] = text }
func (f *fake) TroubleOver(_ context.Context, kind, key, _ string) {
	delete(f.troubles, kind+" "+key)
}
func (f *fake) ClearFolders(sources []string) ([]string, error) {
	f.cleared = sources
	return f.moved, f.failure
}
func (f *fake) IsFull() bool { return f.full }
func (f *fake) Path() string { return "/data" }
func (f *fake) Manifest(context.Context, backup.Ref) (*backup.Manifest, error) {
	if f.manifest == nil {
		return nil, errors.New("the bucket does not answer")
	}
	return f.manifest, nil
}
func (f *fake) Takeover(context.Context, uint64) (*control.Takeover, error) {
	f.asked++
	return f.takeover, nil
}

// A host is looked at when there is a new backup, when its configuration file has
// changed, and now and then: more often while it lacks something.
func TestAHostIsLookedAtWhenThereIsAReason(t *testing.T) {
	f := newFake()
	r := NewReadiness(ReadinessConfig{
		State: f, Chain: f, Clock: f, Log: f, InForce: func() any { return f.inForce },
		Look: func(context.Context, *backup.Manifest) (lacks, notes []string) { f.looks++; return f.lacks, nil },
	})
	is := func(looks int, ready bool) {
		t.Helper()
		r.Turn(t.Context())
		if _, is := r.Read(); f.looks != looks || is != ready {
			t.Errorf("%d looks, ready %v; want %d, %v", f.looks, is, looks, ready)
		}
	}
	f.manifest = nil
	if next := r.Turn(t.Context()); next != readySoon || f.looks != 0 {
		t.Errorf("without a bucket the next look is due in %v", next)
	}
	is(0, false)
	f.manifest = &backup.Manifest{}
	is(1, true)
	f.pass(readyEvery - 1)
	is(1, true)
	f.core.Head = &ha.Head{Epoch: 1, Newest: &backup.Ref{ID: "b2"}}
	is(2, true)
	f.lacks = []string{"no program"}
	f.inForce++
	is(3, false)
	if lacks, _ := r.Read(); !slices.Equal(lacks, f.lacks) || f.changed != 2 {
		t.Errorf("it lacks %q; %d changes", lacks, f.changed)
	}
	f.pass(readyAgain)
	f.lacks = nil
	is(4, true)
	f.core.Promotion = new(ha.Promotion)
	is(4, false)
}

// Backups are overdue after twice their interval, by any clock that went on, and the
// alarm is raised once. While the schedule is paused they are not.
func TestBackupsAreOverdueAfterTwiceTheirInterval(t *testing.T) {
	f := newFake()
	f.shared.Frequency = ha.Duration(10 * time.Minute)
	o := NewOverdue(f, func(ha.Status) Schedule { return f.schedule }, func() (string, *ha.Config) { return "", f.shared })
	late := func() time.Duration { o.Look(t.Context(), f.core, f.now); return o.Late() }
	late()
	f.pass(20 * time.Minute)
	if got := late(); got != 0 || len(f.noted) != 0 {
		t.Errorf("after twice the interval: %v, %q", got, f.noted)
	}
	f.schedule.Failing = "no such file"
	f.now.Boot += time.Second // the host was suspended
	for range 2 {
		if got := late(); got != 20*time.Minute+time.Second || len(f.noted) != 1 || !strings.Contains(f.noted[0], "no such file") {
			t.Errorf("%v, %q", got, f.noted)
		}
	}
	f.schedule.Paused = &ha.Pause{By: "ada", Since: f.now.Wall}
	if late() != 0 || len(f.noted) != 1 {
		t.Errorf("paused: %q", f.noted)
	}
	f.pass(longPause + 1)
	late()
	if late() != 0 || len(f.noted) != 2 || !strings.Contains(f.noted[1], "by ada, until somebody resumes it") {
		t.Errorf("paused for long: %q", f.noted)
	}
	f.schedule = Schedule{}
	f.core.Head = &ha.Head{Epoch: 2, Newest: &backup.Ref{ID: "b2"}}
	if late() != 0 {
		t.Error("a new backup is overdue")
	}
}

// What a backup lacks is known as long as it is the newest, and how an epoch began as
// long as that lasts; the bucket is asked again soon while the old active is back and
// has not told yet what it kept.
func TestTheAftermathFitsTheHead(t *testing.T) {
	f := newFake()
	a := NewAftermath(f, f, f, f, func(*control.Takeover) bool { return f.back })
	f.manifest.Warnings = []string{"all of it"}
	f.manifest.Sources = []source.Entry{{Name: "files", Warnings: []string{"one file"}}}
	a.Turn(t.Context())
	if lacks, takeover := a.Read(f.core.Head); !slices.Equal(lacks, []string{"all of it", "files: one file"}) || takeover != nil || f.asked != 0 {
		t.Errorf("%q, %+v; asked %d times in the first epoch", lacks, takeover, f.asked)
	}
	f.core.Head = &ha.Head{Epoch: 2, Newest: &backup.Ref{ID: "b2"}}
	if lacks, _ := a.Read(f.core.Head); lacks != nil {
		t.Errorf("of another backup: %q", lacks)
	}
	f.takeover = &control.Takeover{Epoch: 2, Mode: ha.ModeFailover, Old: "a", Active: "b"}
	asked := func(want int) {
		t.Helper()
		if a.Turn(t.Context()); f.asked != want {
			t.Errorf("asked %d times, want %d", f.asked, want)
		}
	}
	asked(1)
	f.pass(aftermathSoon)
	asked(1)
	f.back = true
	if f.takeover.Told() {
		t.Fatal("the old active has told already")
	}
	asked(2)
	if _, takeover := a.Read(f.core.Head); takeover == nil || takeover.Old != "a" {
		t.Errorf("%+v", takeover)
	}
	if _, takeover := a.Read(&ha.Head{Epoch: 3}); takeover != nil {
		t.Error("of an earlier epoch")
	}
}

// named is a source.
type named struct{ source.Source }

func (named) Name() string { return "files" }

// What stands in a folder's place is told once it is moved aside, and is a trouble while
// it cannot be; so is a disk that is full.
func TestTheDataFolderIsLookedAfter(t *testing.T) {
	f := newFake()
	l := NewFolder(f, f, func() []source.Source { return []source.Source{named{}} })
	f.moved, f.failure, f.full = []string{"cache was a file"}, errors.New("packs cannot be moved"), true
	l.Look(t.Context())
	if len(f.noted) != 1 || !strings.Contains(f.noted[0], "cache was a file") || !slices.Equal(f.cleared, []string{"files"}) {
		t.Errorf("noted %q, cleared of %q", f.noted, f.cleared)
	}
	if full := f.troubles["disk data folder"]; len(f.troubles) != 2 || f.troubles["cache folders"] != "packs cannot be moved" || !strings.Contains(full, "/data is full") {
		t.Errorf("troubles %q", f.troubles)
	}
	f.moved, f.failure, f.full = nil, nil, false
	if l.Look(t.Context()); len(f.troubles) != 0 || len(f.noted) != 1 {
		t.Errorf("troubles %q, noted %q", f.troubles, f.noted)
	}
}
