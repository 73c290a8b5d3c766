package ha

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// askedDuringABackup is an active that makes a long backup, and a standby that asks for a
// handover meanwhile.
func askedDuringABackup(t *testing.T) (r *rig, a, b *instance) {
	t.Helper()
	r = newRig(t)
	a, b = r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	a.hold = true
	a.step(RequestBackup{Request: "long", Trigger: backup.Task})
	b.step(Promote{Request: "p"})
	r.pass(time.Minute, a, b)
	return r, a, b
}

// A backup may take hours, and its hooks may need the application.
func TestAHandoverLetsTheBackupUnderWayEndBeforeItStopsTheApplication(t *testing.T) {
	r, a, b := askedDuringABackup(t)
	if h := r.head(); h.Handover == nil || h.Handover.State != Preparing || b.done["p"] {
		t.Fatalf("no handover is being prepared: %+v", h)
	}
	if !a.app {
		t.Fatal("the application was stopped while a backup was being made")
	}
	a.hold = false
	d, _ := a.work(a.held[0])
	a.step(d)
	r.pass(30*time.Second, a, b)
	if h := r.head(); h.Epoch != 2 || a.app || !b.app || a.answers["long"] != nil || b.answers["p"] != nil {
		t.Fatalf("epoch %d, applications %v and %v, answers %v and %v", h.Epoch, a.app, b.app, a.answers["long"], b.answers["p"])
	}
	if got := r.objects[HeadKey].(*Head).StartedFrom; got.Sequence != 3 {
		t.Fatalf("epoch 2 began with %+v, not with the final backup", got)
	}
}

// TestAHandoverWaitsUntilTheCandidateHasTheNewestBackup: one that ended a moment ago. Pulled
// behind the stop it would have the application wait. A pull that does not end is waited for for
// so long, and no longer.
func TestAHandoverWaitsUntilTheCandidateHasTheNewestBackup(t *testing.T) {
	isPull := func(e Effect) bool { _, ok := e.(Pull); return ok }
	for name, ends := range map[string]bool{"it is pulled": true, "the pull hangs": false} {
		t.Run(name, func(t *testing.T) {
			r, a, b := askedDuringABackup(t)
			a.hold, b.hold = false, true
			d, _ := a.work(a.held[0])
			a.step(d)
			r.pass(pullMost-10*time.Second, a, b)
			h := r.head()
			if !a.app || h.Handover == nil || !strings.Contains(h.Handover.Waits, "b to have backup "+h.Newest.ID) {
				t.Fatalf("the application runs: %v; handover: %+v", a.app, h.Handover)
			}
			if !ends {
				r.pass(20*time.Second, a, b)
				if a.app {
					t.Errorf("the application runs on: %+v", r.head().Handover)
				}
				return
			}
			b.hold = false
			d, _ = b.work(b.held[slices.IndexFunc(b.held, isPull)])
			b.step(d)
			r.pass(30*time.Second, a, b)
			if r.head().Epoch != 2 || a.app || !b.app {
				t.Errorf("head %+v", r.head())
			}
			if n := a.count(func(e Effect) bool { m, ok := e.(MakeBackup); return ok && m.Trigger == "switchover" }); n != 1 {
				t.Errorf("%d final backups", n)
			}
			told := b.count(func(e Effect) bool { n, ok := e.(Notify); return ok && n.URL == a.m.p.Self.URL })
			if told < 2 {
				t.Errorf("the active was notified %d times: of the lease, and of the backup", told)
			}
		})
	}
}

// TestAHandoverToAnOlderBackupWaitsForNoPull: the newest one may be what cannot be pulled.
func TestAHandoverToAnOlderBackupWaitsForNoPull(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	older := r.head().Newest
	r.fail = func(n *instance, e Effect) (Done, bool) {
		if p, ok := e.(Pull); ok && n == b {
			return Done{ID: p.ID, Outcome: Failed, Err: errors.New("a pack is gone")}, true
		}
		return Done{}, false
	}
	a.step(RequestBackup{Request: "newer", Trigger: backup.Task})
	r.pass(10*time.Second, a, b)
	b.step(Promote{Request: "p", Chosen: older})
	r.pass(30*time.Second, a, b)
	if h := r.head(); h.Epoch != 2 || !same(h.StartedFrom, older) {
		t.Errorf("head %+v, promotion %+v", h, b.m.Status().Promotion)
	}
}

// What a switchover says of the application's downtime is what its clients saw,
// without a comparison of two hosts' clocks.
func TestTheDowntimeOfASwitchoverIsMeasured(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	a.hold = true
	b.step(Promote{Request: "p"})
	var stopped time.Duration
	for !b.app {
		r.pass(time.Second, a, b)
		if !a.app && stopped == 0 {
			stopped = r.now
		}
		if stopped != 0 && r.now-stopped == 40*time.Second { // the final backup takes so long
			a.hold = false
			d, _ := a.work(a.held[slices.IndexFunc(a.held, isBackup)])
			a.step(d)
		}
		if r.now > 5*time.Minute {
			t.Fatalf("no end: %+v", b.m.Status().Promotion)
		}
	}
	truth := r.now - stopped
	r.pass(30*time.Second, a, b)
	if told := b.m.Status().Last.Downtime.std(); told < truth || told > truth+2*time.Second {
		t.Errorf("the downtime is told to be %v, and was %v", told, truth)
	}
}

// TestAHandoverIsSeenSoon: by a candidate that looks more often the less it has waited, so that
// neither the downtime nor what is said of it is much longer than it has to be; and it does not
// look all the time. The notification that the application stops is all that comes.
func TestAHandoverIsSeenSoon(t *testing.T) {
	for _, needs := range []time.Duration{300 * time.Millisecond, 3 * time.Second, time.Minute} {
		t.Run(needs.String(), func(t *testing.T) {
			r := newRig(t)
			a, b := r.active(), r.start("b", Journal{})
			r.pass(20*time.Second, a, b)
			const tick = 10 * time.Millisecond
			a.hold = true
			isLook := func(e Effect) bool { is, ok := e.(Read); return ok && is.Key == HeadKey }
			before := b.count(isLook)
			b.step(Promote{Request: "p"})
			var stopped time.Duration
			for !b.app {
				r.passBy(tick, tick, a, b)
				if !a.app && stopped == 0 {
					stopped = r.now
					if n := a.count(func(e Effect) bool { is, ok := e.(Notify); return ok && is.URL == b.m.p.Self.URL }); n != 1 {
						t.Errorf("the candidate was notified %d times", n)
					}
					b.step(Notified{})
				}
				if i := slices.IndexFunc(a.held, isBackup); a.hold && i >= 0 && r.now-stopped >= needs {
					a.hold = false
					d, _ := a.work(a.held[i])
					a.step(d)
				}
				if r.now > 5*time.Minute {
					t.Fatalf("no end: %+v", b.m.Status().Promotion)
				}
			}
			truth, looks := r.now-stopped, b.count(isLook)-before
			r.passBy(tick, time.Second, a, b)
			late := min(handoverPoll, max(handoverPoll/20, needs/8)) + 3*tick
			if truth > needs+late {
				t.Errorf("it was down for %v, of which %v were needed", truth, needs)
			}
			if told := b.m.Status().Last.Downtime.std(); told < truth || told > truth+2*late {
				t.Errorf("the downtime is told to be %v, and was %v", told, truth)
			}
			if most := 60 + int(needs/handoverPoll); looks > most {
				t.Errorf("it has looked %d times", looks)
			}
		})
	}
}

// TestWhatACutOffStartHasLeftIsLookedFor: a hook that starts the application is ended
// because the application is to stop; what it had begun comes up after the stop, and
// writes after the final backup. A start that ended well leaves nothing behind.
func TestWhatACutOffStartHasLeftIsLookedFor(t *testing.T) {
	for name, c := range map[string]struct {
		hangs, crashes, looks bool
	}{
		"a start that ended well":                {},
		"a start that was cut off":               {hangs: true, looks: true},
		"a start whose agent died in it":         {hangs: true, crashes: true, looks: true},
		"a start that ended well, and a restart": {crashes: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			a, b := r.active(), r.start("b", Journal{})
			r.pass(20*time.Second, a, b)
			var hangs uint64
			r.fail = func(n *instance, e Effect) (Done, bool) {
				switch e := e.(type) {
				case StartApp:
					if n.name == "a" && c.hangs {
						hangs = e.ID
						return Done{}, true // says nothing
					}
				case Cancel:
					if e.ID == hangs {
						return Done{ID: e.ID, Outcome: Failed, Err: context.Canceled}, true
					}
				}
				return Done{}, false
			}
			a = r.start("a", a.journal)
			r.pass(20*time.Second, a, b) // it has the newest backup, for which the stop would wait
			b.hold = true                // the restore waits
			b.step(Promote{Request: "p"})
			for range 30 {
				if h := r.head().Handover; h != nil && h.State == Handed {
					break
				}
				r.pass(time.Second, a, b)
			}
			if c.crashes {
				a = r.start("a", a.journal)
				r.pass(time.Second, a)
			}
			b.hold = false
			for _, e := range b.held {
				if d, ok := b.work(e); ok {
					b.step(d)
				}
			}
			r.pass(30*time.Second, a, b)
			if h := r.head(); h.Epoch != 2 || a.m.Status().Demotion != nil {
				t.Fatalf("head %+v, demotion %+v", h, a.m.Status().Demotion)
			}
			if n := a.alarms("could not be brought to be"); n != 0 {
				t.Errorf("%d alarms of what was wanted", n)
			}
			looks := a.count(func(e Effect) bool {
				s, ok := e.(MakeSalvage)
				return ok && s.Against != nil && same(s.Against, r.head().StartedFrom)
			})
			if (looks == 1) != c.looks {
				t.Errorf("the state was compared with the final backup %d times", looks)
			}
		})
	}
}
