package ha

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// pauseFor pauses the schedule of an active for a time.
func (n *instance) pauseFor(d time.Duration) {
	until := n.r.wall.Add(n.r.now + d)
	n.step(SetPaused{Pause: &Pause{By: "alice", Until: &until, Left: Duration(d)}})
}

func TestAPauseEndsByItself(t *testing.T) {
	for _, c := range []struct {
		name    string
		restart time.Duration // into the pause; 0: none
		down    time.Duration // how long no process runs
		set     time.Duration // how much the wall clock is set meanwhile
		ends    time.Duration // since the start of the pause
	}{
		{"on the instance's own clock", 0, 0, 0, 2 * time.Hour},
		{"whatever the wall clock says", 0, 0, 24 * time.Hour, 2 * time.Hour},
		{"across a restart", time.Hour, 10 * time.Minute, 0, 2 * time.Hour},
		{"while no process runs", time.Hour, 3 * time.Hour, 0, 4 * time.Hour},
		{"no later because the wall clock was set back", time.Hour, 10 * time.Minute, -24 * time.Hour, 2*time.Hour + 10*time.Minute},
		{"earlier because it was set forward", time.Hour, 10 * time.Minute, 24 * time.Hour, 70 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.wall = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
			a := r.active()
			r.pass(20*time.Second, a)
			begun := r.now
			a.pauseFor(2 * time.Hour)
			before := a.count(isBackup)
			if c.restart > 0 {
				r.pass(c.restart, a)
				if a.count(isBackup) != 1 {
					t.Fatal("a backup during the pause")
				}
				r.now += c.down
				r.wall = r.wall.Add(c.set)
				a = r.start("a", a.journal)
				before = 0
			} else {
				r.wall = r.wall.Add(c.set)
			}
			for a.count(isBackup) == before && r.now < begun+24*time.Hour {
				r.pass(time.Second, a)
			}
			if got := r.now - begun; got < c.ends-10*time.Second || got > c.ends+10*time.Second {
				t.Errorf("the schedule went on after %v, want %v", got, c.ends)
			}
			if s := a.m.Status(); s.Paused != nil || s.PauseLeft >= 0 || a.journal.Paused != nil {
				t.Errorf("still paused: %+v for %v; journal %+v", s.Paused, s.PauseLeft, a.journal.Paused)
			}
		})
	}
}

func TestAPauseWithoutAnEndGoesOn(t *testing.T) {
	r := newRig(t)
	a := r.active()
	r.pass(20*time.Second, a)
	a.step(SetPaused{Pause: &Pause{By: "alice"}})
	r.pass(5*time.Hour, a)
	a = r.start("a", a.journal)
	r.pass(5*time.Hour, a)
	if s := a.m.Status(); s.Paused == nil || s.PauseLeft >= 0 || a.count(isBackup) != 0 {
		t.Errorf("paused %+v, %d backups", s.Paused, a.count(isBackup))
	}
	a.step(SetPaused{})
	r.pass(time.Second, a)
	if a.count(isBackup) != 1 {
		t.Error("no backup once it was resumed")
	}
}

// TestAPauseEndsWithTheTermAsTheActive: the schedule is the active's. One that
// was paused, replaced, and is promoted again, makes backups.
func TestAPauseEndsWithTheTermAsTheActive(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	a.step(SetPaused{Pause: &Pause{By: "alice"}})
	b.step(Promote{Request: "p", Mode: ModeSwitchover})
	r.pass(2*time.Minute, a, b)
	if r.head().Active.Name != "b" || a.journal.Paused != nil || b.journal.Paused != nil {
		t.Fatalf("head %+v, pauses %+v and %+v", r.head().Active, a.journal.Paused, b.journal.Paused)
	}
}

// TestAnOperatorsBackupDoesNotWaitForABackOff: whoever has mended what made
// backups fail wants to see at once that it is mended.
func TestAnOperatorsBackupDoesNotWaitForABackOff(t *testing.T) {
	r := newRig(t)
	a := r.active()
	broken := true
	r.fail = func(_ *instance, e Effect) (Done, bool) {
		mb, ok := e.(MakeBackup)
		return Done{ID: mb.ID, Outcome: Failed, Err: errors.New("the disk is full")}, ok && broken
	}
	r.pass(20*time.Minute, a) // the back-off is at its longest
	attempts := a.count(isBackup)
	a.step(RequestBackup{Request: "fails", Trigger: backup.Requested, By: "alice"})
	if got := a.count(isBackup) - attempts; got != 1 || a.answers["fails"] == nil {
		t.Fatalf("%d attempts at once, answer %v", got, a.answers["fails"])
	}
	a.step(RequestBackup{Request: "task", Trigger: backup.Task})
	if a.done["task"] || a.count(isBackup)-attempts != 1 {
		t.Fatal("an application's request did not wait: its tasks may complete many times a second")
	}
	broken = false
	a.step(RequestBackup{Request: "works", Trigger: backup.Requested, By: "alice"})
	if !a.done["works"] || a.answers["works"] != nil || !a.done["task"] {
		t.Fatalf("once it is mended: %v, %v", a.done, a.answers["works"])
	}
}

// TestARequestDuringAFailingBackupIsServedAtOnce: it was made before the
// back-off began.
func TestARequestDuringAFailingBackupIsServedAtOnce(t *testing.T) {
	r := newRig(t)
	a := r.active()
	r.pass(20*time.Second, a)
	a.hold = true
	r.pass(5*time.Minute, a)
	if len(a.held) != 1 {
		t.Fatalf("held %v", a.held)
	}
	a.step(RequestBackup{Request: "q", Trigger: backup.Requested, By: "alice", Reason: "before the upgrade"})
	a.hold = false
	a.step(Done{ID: a.held[0].(MakeBackup).ID, Outcome: Failed, Err: errors.New("the disk was full")})
	if !a.done["q"] || a.answers["q"] != nil {
		t.Fatalf("answers %v", a.answers)
	}
	said := func(e Effect) bool {
		rep, ok := e.(Report)
		return ok && rep.Kind == "backup" && rep.By == "alice" && rep.Text == "backup e1-s2 is published (before the upgrade)"
	}
	if a.count(said) != 1 {
		t.Error("nobody was told who asked for the backup, and why")
	}
}

// TestTheFirstBackupWaitsForTheFirstStart: an application that never ran has
// nothing to back up before its promote hook has ended, well or not.
func TestTheFirstBackupWaitsForTheFirstStart(t *testing.T) {
	for _, c := range []struct {
		name string
		end  Done
	}{{"that works", Done{}}, {"that fails", Done{Outcome: Failed, Err: errors.New("no such unit")}}} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			var hook uint64
			r.fail = func(_ *instance, e Effect) (Done, bool) {
				start, ok := e.(StartApp)
				if ok {
					hook = start.ID
				}
				return Done{ID: math.MaxUint64}, ok // it says nothing yet
			}
			a := r.active()
			r.pass(time.Minute, a)
			if hook == 0 || a.count(isBackup) != 0 {
				t.Fatalf("hook %d, %d backups while it runs", hook, a.count(isBackup))
			}
			c.end.ID = hook
			a.step(c.end)
			if a.count(isBackup) != 1 {
				t.Errorf("%d backups once it has ended", a.count(isBackup))
			}
		})
	}
}

func TestAnOperatorsBackupDoesNotWaitForTheFirstStart(t *testing.T) {
	r := newRig(t)
	r.fail = func(_ *instance, e Effect) (Done, bool) {
		_, ok := e.(StartApp)
		return Done{ID: math.MaxUint64}, ok
	}
	a := r.active()
	r.pass(time.Minute, a)
	a.step(RequestBackup{Request: "r", Trigger: backup.Requested, By: "alice"})
	if a.count(isBackup) != 1 || a.answers["r"] != nil {
		t.Errorf("%d backups, answer %v", a.count(isBackup), a.answers["r"])
	}
}
