package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/requests"
)

// fake is a machine that does what a test wants with each event, and the host on which
// it runs.
type fake struct {
	handle func(ev ha.Event) []ha.Effect
	begun  time.Time

	mu    sync.Mutex
	did   []string   // in their order
	wrong string     // the trouble
	disk  chan error // how each write of the journal ends
	hung  bool
	stop  func()
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did = append(f.did, fmt.Sprintf(format, args...))
}

// seen is what was done so far.
func (f *fake) seen() []string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.did)
}

func (f *fake) trouble() string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wrong
}

func (f *fake) Handle(_ ha.Now, ev ha.Event) []ha.Effect {
	f.mu.Lock()
	handle := f.handle
	f.mu.Unlock()
	return handle(ev)
}
func (f *fake) Status() ha.Status           { return ha.Status{} }
func (f *fake) Wake() (time.Duration, bool) { return 0, false }
func (f *fake) Boot() string                { return "" }
func (f *fake) Now() ha.Now {
	return ha.Now{Mono: time.Hour + time.Since(f.begun), Wall: time.Now()}
}

func (f *fake) SaveJournal(ha.Journal) error {
	f.note("save")
	return <-f.disk
}
func (f *fake) Path() string { return "/data" }
func (f *fake) Hang()        { f.hung = true }

func (f *fake) Note(context.Context, event.Level, string, string, map[string]any) {}
func (f *fake) Changed()                                                          {}
func (f *fake) Trouble(_ context.Context, _, _, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrong = text
}
func (f *fake) TroubleOver(context.Context, string, string, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrong = ""
}

// work does what it is told of, and fails for backups.
func (f *fake) work(_ context.Context, e ha.Effect) Work {
	switch e := e.(type) {
	case ha.StartApp:
		return Work{Step: "application.start", ID: e.ID, Do: func(context.Context) ha.Done { f.note("start"); return ha.Done{} }}
	case ha.StopApp:
		return Work{Step: "application.stop", ID: e.ID, Do: func(context.Context) ha.Done { f.note("stop"); return ha.Done{} }}
	case ha.Pull:
		return Work{Step: "pull", ID: e.ID, Do: func(ctx context.Context) ha.Done {
			<-ctx.Done()
			return ha.Done{Outcome: ha.Failed, Err: ctx.Err()}
		}}
	case ha.MakeBackup:
		return Work{Step: "backup", ID: e.ID, Do: func(context.Context) ha.Done {
			return ha.Done{Outcome: ha.Failed, Err: errors.New("no")}
		}}
	}
	f.note("%T", e)
	return Work{}
}

// run runs the fake's machine until the test ends.
func (f *fake) run(t *testing.T) *Runner {
	t.Helper()
	f.begun, f.disk = time.Now(), make(chan error)
	r := New(Config{
		Machine: f, Inbox: NewInbox(), Clock: f, State: NewState(), Disk: f, Log: f, Failed: func(step string) { f.note("failed %s", step) }, Work: f.work,
		Correct: func(*ha.Status, ha.Now) {}, After: func(context.Context, ha.Now) {}, Leave: func(context.Context) { f.note("leave") },
		Steps: func(point string) {
			if strings.HasPrefix(point, "journal.") {
				f.note("%s", point)
			}
		},
	}, f.Now())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		err := r.Run(ctx, ha.Tick{})
		r.cfg.Inbox.Post(ha.Tick{}) // as parts do that are waited for before End
		r.End()
		done <- err
	}()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Cleanup(f.stop)
	return r
}

// on wants effects done once it hears of a notification, and notes what was done.
func (f *fake) on(effects ...ha.Effect) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handle = func(ev ha.Event) []ha.Effect {
		switch ev := ev.(type) {
		case ha.Notified:
			return effects
		case ha.Done:
			f.note("done %d: %v", ev.ID, ev.Err)
		}
		return nil
	}
}

// What depends on a journal is done once that is durable, and a stop at once.
func TestWhatDependsOnAJournalWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fake)
		f.on(ha.Save{Step: "head"}, ha.StartApp{ID: 1}, ha.StopApp{ID: 2})
		r := f.run(t)
		r.cfg.Inbox.Post(ha.Notified{})
		if got := f.seen(); slices.Contains(got, "start") || !slices.Contains(got, "stop") || !slices.Contains(got, "journal.head.before") {
			t.Fatalf("before the journal is durable: %q", got)
		}
		f.disk <- nil
		got := f.seen()
		if saved, started := slices.Index(got, "journal.head.after"), slices.Index(got, "start"); saved < 0 || started < saved || !slices.Contains(got, "done 1: <nil>") {
			t.Errorf("%q", got)
		}
		if f.trouble() != "" {
			t.Errorf("a trouble: %s", f.wrong)
		}
	})
}

// A journal that cannot be written is tried again, and a trouble meanwhile; what waits
// for it is given up before long.
func TestAJournalThatCannotBeWrittenIsATrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fake)
		f.on(ha.Save{Step: "head"}, ha.StartApp{ID: 1})
		r := f.run(t)
		r.cfg.Inbox.Post(ha.Notified{})
		f.disk <- errors.New("no space")
		if text := f.trouble(); !strings.Contains(text, "no space") {
			t.Errorf("trouble %q", text)
		}
		f.disk <- errors.New("no space") // waits for the next try
		f.disk <- nil
		if got := f.seen(); f.trouble() != "" || slices.Index(got, "start") < 0 {
			t.Errorf("trouble %q; did %q", f.wrong, got)
		}
		r.cfg.Inbox.Post(ha.Notified{})
		<-time.After(journalPatience + 2*wakeEvery)
		if text := f.trouble(); !strings.Contains(text, "/data does not answer") {
			t.Errorf("trouble %q", text)
		}
		if got := f.seen(); !slices.Contains(got, "done 1: "+ha.ErrJournal.Error()) || strings.Count(strings.Join(got, "\n"), "start\n") > 1 {
			t.Errorf("did %q", got)
		}
		f.disk <- nil
		if f.trouble() != "" {
			t.Errorf("trouble %q", f.wrong)
		}
	})
}

// A process that ends leaves a write that does not end behind, after a while.
func TestAWriteThatHangsDoesNotKeepAProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fake)
		f.on(ha.Save{Step: "head"})
		r := f.run(t)
		r.cfg.Inbox.Post(ha.Notified{})
		synctest.Wait()
		begun := time.Now()
		f.stop()
		if took := time.Since(begun); took != journalEnd || !f.hung {
			t.Errorf("it took %v (hung %v)", took, f.hung)
		}
		f.disk <- nil
	})
}

// Work that is cancelled has not failed; other work that fails is counted by its step.
func TestWorkThatFailsIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fake)
		f.on(ha.Pull{ID: 1}, ha.MakeBackup{ID: 2}, ha.Answer{Request: "x"})
		r := f.run(t)
		if err := r.cfg.Inbox.Hand(t.Context(), ha.Notified{}); err != nil {
			t.Fatal(err)
		}
		f.on(ha.Cancel{ID: 1})
		r.cfg.Inbox.Wake()
		got := f.seen()
		for _, want := range []string{"ha.Answer", "done 1: context canceled", "failed backup", "done 2: no"} {
			if !slices.Contains(got, want) {
				t.Errorf("nothing says %q: %q", want, got)
			}
		}
		if slices.Contains(got, "failed pull") {
			t.Errorf("what was cancelled is counted: %q", got)
		}
	})
}

// Who asks a machine that nobody runs any more is told so.
func TestNobodyWaitsForAMachineThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fake)
		f.on()
		r := f.run(t)
		synctest.Wait()
		f.stop()
		in := r.cfg.Inbox
		if err := in.Hand(t.Context(), ha.Tick{}); !errors.Is(err, requests.ErrStopped) {
			t.Error(err)
		}
		in.Post(ha.Tick{})
		in.Wake()
		<-in.Stopped()
	})
}

// The state changes its turn with the role alone.
func TestATurnIsARolesTurn(t *testing.T) {
	s := NewState()
	first := s.Changed()
	s.set(ha.Status{Role: ha.RoleStandby}, ha.Now{Mono: 1})
	turn := s.Turn()
	select {
	case <-first:
	default:
		t.Error("nobody is told of a change")
	}
	s.set(ha.Status{Role: ha.RoleStandby, Work: "pull"}, ha.Now{Mono: 2})
	if s.Turn() != turn {
		t.Error("another turn without another role")
	}
	s.set(ha.Status{Role: ha.RoleActive}, ha.Now{Mono: 3})
	if core, at := s.ViewAt(); s.Turn() != turn+1 || core.Role != ha.RoleActive || at.Mono != 3 {
		t.Errorf("turn %d, %+v", s.Turn(), core)
	}
}
