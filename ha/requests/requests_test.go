package requests

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/event"
)

// machine keeps what it was handed, and says what it is told to say.
type machine struct {
	asking  *Asking
	does    func(ev ha.Event) // when it is handed something
	handed  []ha.Event
	stopped chan struct{}

	mu      sync.Mutex
	core    ha.Status
	changed chan struct{}
	notes   []string
}

func newMachine() (*machine, *Requests) {
	m := &machine{stopped: make(chan struct{}), changed: make(chan struct{}), core: ha.Status{Role: ha.RoleActive, Leading: true, Bucket: "ok"}}
	m.asking = NewAsking(m, m, rand.Reader)
	return m, New(m.asking, m, func() { m.notes = append(m.notes, "full") }, clock.System(), m)
}

func (m *machine) Hand(_ context.Context, ev ha.Event) error {
	select {
	case <-m.stopped:
		return ErrStopped
	default:
	}
	m.handed = append(m.handed, ev)
	if m.does != nil {
		m.does(ev)
	}
	return nil
}

func (m *machine) Stopped() <-chan struct{} { return m.stopped }

func (m *machine) View() ha.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.core
}

func (m *machine) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

func (m *machine) set(core ha.Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.core = core
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *machine) Note(ctx context.Context, level event.Level, kind, text string, _ map[string]any) {
	m.notes = append(m.notes, string(level)+" "+kind+" by "+event.Actor(ctx)+": "+text)
}

func by(t *testing.T, who string) context.Context { return event.WithActor(t.Context(), who) }

// TestARequestWaitsForItsOwnAnswer, also when others are answered before.
func TestARequestWaitsForItsOwnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := newMachine()
		m.does = func(ev ha.Event) {
			id := ev.(ha.RequestBackup).Request
			time.AfterFunc(time.Second, func() { m.asking.Answer(ha.Answer{Request: "another", Ref: &backup.Ref{ID: "wrong"}}) })
			time.AfterFunc(2*time.Second, func() { m.asking.Answer(ha.Answer{Request: id, Ref: &backup.Ref{ID: "right"}}) })
		}
		if ref, err := r.Backup(by(t, "alice"), "", "now"); err != nil || ref.ID != "right" {
			t.Errorf("%+v, %v", ref, err)
		}
		if ev := m.handed[0].(ha.RequestBackup); ev.By != "alice" || ev.Reason != "now" || ev.Trigger != backup.Requested {
			t.Errorf("asked for %+v", ev)
		}
	})
}

// TestARefusalComesAtOnce, also to whoever does not wait for the backup.
func TestARefusalComesAtOnce(t *testing.T) {
	m, r := newMachine()
	m.does = func(ev ha.Event) {
		m.asking.Answer(ha.Answer{Request: ev.(ha.RequestBackup).Request, Refused: &ha.Refusal{Reason: "not now"}})
	}
	if err := r.BackupSoon(t.Context(), backup.Task, ""); !ha.IsRefusal(err) {
		t.Errorf("soon: %v", err)
	}
	if _, err := r.Backup(t.Context(), backup.Task, ""); !ha.IsRefusal(err) {
		t.Errorf("awaited: %v", err)
	}
	m.does = nil
	if err := r.BackupSoon(t.Context(), backup.Task, ""); err != nil || len(m.asking.answers) != 0 {
		t.Errorf("taken: %v; %d answers are waited for", err, len(m.asking.answers))
	}
}

// TestWhoeverIsAskedMayStop: who waits is told, but for an answer that came before.
func TestWhoeverIsAskedMayStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := newMachine()
		m.does = func(ha.Event) { time.AfterFunc(time.Second, func() { close(m.stopped) }) }
		if _, err := r.Backup(t.Context(), "", ""); !errors.Is(err, ErrStopped) {
			t.Errorf("stopped meanwhile: %v", err)
		}
		if _, err := r.Backup(t.Context(), "", ""); !errors.Is(err, ErrStopped) {
			t.Errorf("asked afterwards: %v", err)
		}
		answer := m.asking.Expect("id")
		m.asking.Answer(ha.Answer{Request: "id", Ref: &backup.Ref{ID: "made"}})
		if ref, err := m.asking.Await(t.Context(), "id", answer); err != nil || ref.ID != "made" {
			t.Errorf("answered before: %+v, %v", ref, err)
		}
	})
}

// TestAnAgentThatHasJustStartedIsNotAskedBeforeItHasLooked, but to start the application
// without the bucket.
func TestAnAgentThatHasJustStartedIsNotAskedBeforeItHasLooked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, r := newMachine()
		m.set(ha.Status{Role: ha.RoleActive, Bucket: ha.NotRead})
		var at []time.Duration
		began := time.Now()
		m.does = func(ev ha.Event) {
			at = append(at, time.Since(began))
			if e, ok := ev.(ha.StartAnyway); ok {
				m.asking.Answer(ha.Answer{Request: e.Request})
			}
		}
		if err := r.StartAnyway(by(t, "op")); err != nil || m.handed[0].(ha.StartAnyway).By != "op" {
			t.Errorf("%v, %+v", err, m.handed)
		}
		time.AfterFunc(time.Second, func() { m.set(ha.Status{Role: ha.RoleActive, Bucket: "ok"}) }) // it claims the head
		time.AfterFunc(3*time.Second, func() { m.set(ha.Status{Role: ha.RoleActive, Leading: true, Bucket: "ok"}) })
		if err := r.BackupSoon(t.Context(), "", ""); err != nil {
			t.Error(err)
		}
		if at[0] != 0 || at[1] != 3*time.Second {
			t.Errorf("asked after %v", at)
		}
	})
}

// TestOnlyTheActiveIsAsked: elsewhere the refusal names it, and nothing is asked or noted.
func TestOnlyTheActiveIsAsked(t *testing.T) {
	m, r := newMachine()
	m.set(ha.Status{Role: ha.RoleStandby, Bucket: "ok", Head: &ha.Head{Active: ha.Peer{Name: "host-a", URL: "https://a"}}})
	for name, err := range map[string]error{
		"pause": r.Pause(by(t, "me"), PauseRequest{}), "resume": r.Resume(by(t, "me")), "full": r.RequireFull(by(t, "me")),
	} {
		if !ha.IsRefusal(err) || name != "full" && !strings.Contains(err.Error(), "host-a (https://a)") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(m.handed) != 0 || len(m.notes) != 0 {
		t.Errorf("asked for %+v, noted %q", m.handed, m.notes)
	}
}

// TestWhoPausesIsTold, to the machine and in the log.
func TestWhoPausesIsTold(t *testing.T) {
	m, r := newMachine()
	m.does = func(ev ha.Event) { m.asking.Answer(ha.Answer{Request: ev.(ha.SetPaused).Request}) }
	if err := errors.Join(r.Pause(by(t, "alice"), PauseRequest{Reason: "work", For: time.Hour}), r.Resume(by(t, "bob"))); err != nil {
		t.Fatal(err)
	}
	if p := m.handed[0].(ha.SetPaused).Pause; p == nil || p.By != "alice" || p.Reason != "work" || time.Duration(p.Left) != time.Hour {
		t.Errorf("paused: %+v", p)
	}
	if p := m.handed[1].(ha.SetPaused).Pause; p != nil {
		t.Errorf("resumed: %+v", p)
	}
	want := []string{"warn schedule by alice: the schedule of backups was paused for 1h0m0s (work)", "info schedule by bob: the schedule of backups was resumed"}
	if len(m.notes) != 2 || m.notes[0] != want[0] || m.notes[1] != want[1] {
		t.Errorf("noted %q", m.notes)
	}
	if err := r.Pause(by(t, "alice"), PauseRequest{For: -1}); !errors.Is(err, ha.ErrInvalid) {
		t.Errorf("a pause of the past: %v", err)
	}
}

// TestARefusalIsToldOnceAMinute, for each who asks for the same; what is no refusal is no
// news.
func TestARefusalIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := newMachine()
		w := NewWitness(clock.System(), m)
		refused := &ha.Refusal{Reason: "not here"}
		ask := func(who string, err error) { w.NoteRefusal(by(t, who), "make backup", err) }
		ask("app", errors.New("no route"))
		ask("app", refused)
		ask("app", refused)
		ask("alice", refused)
		w.NoteAccess(t.Context(), false, "a wrong token")
		w.NoteAccess(t.Context(), false, "a wrong token")
		w.NoteAccess(t.Context(), true, "alice signed in")
		w.NoteAccess(t.Context(), true, "alice signed in")
		if len(m.notes) != 5 {
			t.Fatalf("told %q", m.notes)
		}
		if m.notes[0] != "warn refusal by app: make backup was refused: not here" || m.notes[2] != "warn access by : a wrong token" || m.notes[4] != "info access by : alice signed in" {
			t.Errorf("told %q", m.notes)
		}
		<-time.After(refusalPause)
		if ask("app", refused); len(m.notes) != 6 {
			t.Errorf("a minute later: %q", m.notes[5:])
		}
	})
}
