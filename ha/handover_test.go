package ha

import (
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// A backup may take hours, and its hooks may need the application.
func TestAHandoverLetsTheBackupUnderWayEndBeforeItStopsTheApplication(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	a.hold = true
	a.step(RequestBackup{Request: "long", Trigger: backup.Task})
	b.step(Promote{Request: "p"})
	r.pass(time.Minute, a, b)
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
