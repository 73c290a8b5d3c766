package application

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
)

// fake is a host: its agent's state, its hooks and its supervisor, and what they were
// told.
type fake struct {
	core   ha.Status
	at     ha.Now
	setup  Setup
	shared *ha.Config
	output string
	err    error // of hooks and of the supervisor
	found  holder.Found
	failed error // of the look for holders

	hook     Hook
	env      []string
	bound    Bound
	stopped  time.Duration
	counted  []string
	troubles map[string]string
}

func (f *fake) ViewAt() (ha.Status, ha.Now)                                       { return f.core, f.at }
func (f *fake) Note(context.Context, event.Level, string, string, map[string]any) {}
func (f *fake) Trouble(_ context.Context, kind, key, text string)                 { f.troubles[kind+" "+key] = text }
func (f *fake) TroubleOver(_ context.Context, kind, key, _ string)                { delete(f.troubles, kind+" "+key) }
func (f *fake) Changed()                                                          {}
func (f *fake) Start(_ context.Context, r Run) error                              { f.env, f.bound = r.Env, r.Bound; return f.err }
func (f *fake) Stop(_ context.Context, timeout time.Duration) error {
	f.stopped = timeout
	return f.err
}
func (f *fake) Bind(b Bound) { f.bound = b }
func (f *fake) Down() error  { return f.err }
func (f *fake) Run(_ context.Context, _ string, h Hook, env []string) (string, error) {
	f.hook, f.env = h, env
	return f.output, f.err
}

func newFake() *fake { return &fake{troubles: map[string]string{}, core: ha.Status{AppUntil: -1}} }

func (f *fake) application(s Supervisor) *Application {
	return New(Config{
		Instance: "host-a", Cluster: "one", Supervisor: s, Runner: f, State: f, Log: f,
		InForce: func() Setup { return f.setup }, Shared: func() (string, *ha.Config) { return "", f.shared },
		Failed: func(hook string) { f.counted = append(f.counted, hook) },
	})
}

func fencing(stop time.Duration) ha.Fencing { return ha.Fencing{StopTimeout: ha.Duration(stop)} }

// A stop may take what the cluster says: what the head names, or else what this instance
// last knew, or else the default.
func TestAStopMayTakeWhatTheClusterSays(t *testing.T) {
	f := newFake()
	f.setup.Hooks.Demote = Hook{Command: []string{"stop"}}
	a := f.application(nil)
	stop := func() time.Duration {
		t.Helper()
		if unstoppable, err := a.Stop(t.Context(), ha.StopApp{Epoch: 3}); unstoppable || err != nil {
			t.Fatal(unstoppable, err)
		}
		return f.hook.Timeout
	}
	if got, want := stop(), time.Duration(ha.DefaultConfig().Fencing.StopTimeout); got != want {
		t.Errorf("%v, want the default %v", got, want)
	}
	f.shared = &ha.Config{Fencing: fencing(7 * time.Second)}
	if got := stop(); got != 7*time.Second {
		t.Errorf("%v, want the configuration's", got)
	}
	f.core.Head = &ha.Head{Fencing: fencing(9 * time.Second)}
	if got := stop(); got != 9*time.Second {
		t.Errorf("%v, want the head's", got)
	}
	f.setup.Hooks.Demote.Timeout = time.Second
	if got := stop(); got != time.Second {
		t.Errorf("%v, want the hook's own", got)
	}
	if !slices.Contains(f.env, "UNDERSTUDY_EPOCH=3") || !slices.Contains(f.env, "UNDERSTUDY_HOOK=demote") || !slices.Contains(f.env, "UNDERSTUDY_CLUSTER=one") {
		t.Errorf("environment %q", f.env)
	}
	if err := f.application(f).End(t.Context()); err != nil || f.stopped != 9*time.Second {
		t.Errorf("%v, in %v", err, f.stopped)
	}
}

// Where there is neither a demote hook nor a supervisor, nothing is said to have stopped.
func TestWithoutAHookNothingIsSaidToHaveStopped(t *testing.T) {
	f := newFake()
	if unstoppable, err := f.application(nil).Stop(t.Context(), ha.StopApp{}); !unstoppable || err != nil {
		t.Errorf("unstoppable %v, %v", unstoppable, err)
	}
	f.err = errors.New("it hangs")
	if unstoppable, err := f.application(f).Stop(t.Context(), ha.StopApp{}); unstoppable || err == nil {
		t.Errorf("a supervisor that fails: unstoppable %v, %v", unstoppable, err)
	}
}

// served is a source that is a program of its own.
type served struct {
	source.Source
	source.Served
	stops    int
	deadline bool
}

func (s *served) Name() string { return "db" }
func (s *served) Stop(ctx context.Context) error {
	s.stops++
	_, s.deadline = ctx.Deadline()
	return nil
}

// The servers of sources stop with the application where that is asked for, in bounded time,
// also when the application itself does not.
func TestServersStopWithTheApplication(t *testing.T) {
	db, f := new(served), newFake()
	f.setup.Sources = []source.Source{db}
	f.setup.Hooks.Demote = Hook{Command: []string{"stop"}}
	a := f.application(nil)
	for _, when := range []struct {
		servers bool
		err     error
		stops   int
	}{{false, nil, 0}, {true, nil, 1}, {true, errors.New("it hangs"), 2}} {
		f.err = when.err
		if _, err := a.Stop(t.Context(), ha.StopApp{Servers: when.servers}); !errors.Is(err, when.err) {
			t.Errorf("error %v", err)
		}
		if db.stops != when.stops || db.stops > 0 && !db.deadline {
			t.Errorf("servers %v: stopped %d times, bounded %v", when.servers, db.stops, db.deadline)
		}
	}
}

// A supervised application is bound to when the machine lets it run on, on the host's
// boot-time clock; one that is down is not told to run.
func TestASupervisedApplicationIsBound(t *testing.T) {
	f := newFake()
	a := f.application(f)
	f.core.Head = &ha.Head{Fencing: fencing(5 * time.Second)}
	f.core.App, f.core.AppUntil, f.at = "running", 20*time.Second, ha.Now{Mono: time.Second, Boot: time.Hour}
	a.Supervise(&f.core, f.at)
	if want := (Bound{Until: time.Hour + 20*time.Second, Stop: 5 * time.Second}); f.bound != want || f.core.App != "running" {
		t.Errorf("%+v, want %+v; the application is %s", f.bound, want, f.core.App)
	}
	if err := a.Start(t.Context(), ha.StartApp{Epoch: 4, Backup: "b1"}); err != nil || f.bound.Until != time.Hour+20*time.Second || !slices.Contains(f.env, "UNDERSTUDY_BACKUP=b1") {
		t.Errorf("%v, %+v, %q", err, f.bound, f.env)
	}
	f.core.AppUntil = -1
	f.err = errors.New("exit status 2")
	if a.Supervise(&f.core, f.at); f.bound.Until != 0 || f.core.App != "down" || f.core.AppError != "exit status 2" {
		t.Errorf("%+v, the application is %s (%s)", f.bound, f.core.App, f.core.AppError)
	}
}

// A hook that fails is counted, and says what it printed; only the probe has long.
func TestAHookThatFailsIsCounted(t *testing.T) {
	f := newFake()
	f.setup.Hooks = Hooks{Promote: Hook{Command: []string{"start"}}, Probe: Hook{Command: []string{"judge"}}}
	a := f.application(nil)
	f.err, f.output = errors.New("exit status 1"), "no room"
	if err := a.Start(t.Context(), ha.StartApp{}); !errors.Is(err, f.err) || !strings.Contains(err.Error(), "no room") || f.hook.Timeout != DefaultHookTimeout {
		t.Errorf("%v, in %v", err, f.hook.Timeout)
	}
	output, err := a.Probe(t.Context(), backup.Ref{ID: "b1"})
	if !errors.Is(err, f.err) || output != "no room" || f.hook.Timeout != DefaultProbeTimeout || !slices.Contains(f.env, "UNDERSTUDY_BACKUP=b1") {
		t.Errorf("%q, %v, in %v", output, err, f.hook.Timeout)
	}
	if want := []string{"promote", "probe"}; !slices.Equal(f.counted, want) {
		t.Errorf("counted %q, want %q", f.counted, want)
	}
	if before, after := a.AroundBackup(ha.MakeBackup{}); before != nil || after != nil {
		t.Error("a hook that is not configured is run around a backup")
	}
}

// Who may write to a standby's state is a trouble, who reads there is not, and a look
// that fails says neither.
func TestAWriterOnAStandbyIsATrouble(t *testing.T) {
	f := newFake()
	f.core.Role = ha.RoleStandby
	h := NewHolders(HoldersConfig{
		State: f, Log: f, Sources: func() []source.Source { return nil }, Live: func() ([]holder.Place, error) { return nil, nil },
		Find: func(context.Context, []holder.Place, func(int) bool) (holder.Found, error) { return f.found, f.failed },
	})
	look := func() int { h.Look(t.Context()); return len(f.troubles) }
	f.found.Holders = []holder.Holder{{PID: 1, Command: "cat", Path: "/x", How: "open"}}
	if look() != 0 {
		t.Errorf("a reader: %q", f.troubles)
	}
	f.found.Holders[0].Writes = true
	if look() != 1 {
		t.Error("a writer is no trouble")
	}
	f.found, f.failed = holder.Found{}, errors.New("not now")
	if look() != 1 {
		t.Error("a look that failed says that nobody writes")
	}
	if f.failed = nil; look() != 0 {
		t.Errorf("nobody writes: %q", f.troubles)
	}
	f.found.Holders = []holder.Holder{{Writes: true}}
	if f.core.Role = ha.RoleActive; look() != 0 {
		t.Errorf("the active's own application: %q", f.troubles)
	}
}

// For an agent that cannot begin, a standby's application is stopped, within the longest
// stop that may be in force; it is tried again when that fails. An agent that begins in
// time needs nobody.
func TestTheStandInStopsTheApplicationOfAStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		runs := make(chan Hook, 10)
		f.err = errors.New("it hangs")
		begin := func() *StandIn {
			return NewStandIn(t.Context(), StandInConfig{
				Folder: "/data", Demote: Hook{Command: []string{"stop"}}, Runner: told{f, runs}, Clock: bubble{time.Now()}, Random: rand.Reader, Poll: time.Second,
				Logger: slog.New(slog.DiscardHandler), Incarnation: func() (string, error) { return "new", nil },
				Journal: func() (ha.Journal, bool, error) {
					return ha.Journal{Cluster: "one", Instance: "a", Role: ha.RoleStandby, Fencing: []ha.Fencing{fencing(3 * time.Second), fencing(8 * time.Second)}}, true, nil
				},
			})
		}
		begin().End()
		if len(runs) != 0 {
			t.Error("the application was stopped, and the agent has begun in time")
		}
		s := begin()
		<-time.After(time.Minute)
		s.End()
		if n := len(runs); n != 2 {
			t.Fatalf("the hook was run %d times, want once more after it failed", n)
		}
		if h := <-runs; h.Timeout != 8*time.Second {
			t.Errorf("a stop may take %v", h.Timeout)
		}
	})
}

// told says which hooks are run; the second run is good.
type told struct {
	f    *fake
	runs chan<- Hook
}

func (r told) Run(_ context.Context, _ string, h Hook, _ []string) (string, error) {
	r.runs <- h
	if len(r.runs) > 1 {
		return "", nil
	}
	return "", r.f.err
}

// bubble is the test's own clock.
type bubble struct{ begun time.Time }

func (b bubble) Now() ha.Now {
	passed := time.Hour + time.Since(b.begun)
	return ha.Now{Mono: passed, Boot: passed, Wall: time.Now()}
}
func (b bubble) Boot() string { return "" }
