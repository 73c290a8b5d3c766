package ha

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
)

func isRehearsal(e Effect) bool { _, ok := e.(Rehearse); return ok }

// rehearsing starts a standby with a policy.
func (r *rig) rehearsing(policy RehearsalPolicy) *instance {
	return r.startWith("b", Journal{}, func(p *Params) { p.Rehearsal = policy })
}

// backup has an active make a backup, and a standby hear of it.
func (n *instance) backup(standby *instance) {
	n.step(RequestBackup{Request: "now", Trigger: backup.Requested})
	n.r.pass(2*time.Second, n)
	standby.step(Notified{})
	n.r.pass(time.Second, n, standby)
}

func TestAStandbyRehearsesEachBackupOnce(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(time.Minute, a, b)
	if n := b.count(isRehearsal); n != 1 || b.m.Status().Rehearsed != (Rehearsed{Backup: "e1-s1"}) {
		t.Fatalf("%d rehearsals, %+v", n, b.m.Status().Rehearsed)
	}
	a.backup(b)
	r.pass(time.Minute, a, b)
	if n := b.count(isRehearsal); n != 2 || b.m.Status().Rehearsed != (Rehearsed{Backup: "e1-s2"}) {
		t.Fatalf("%d rehearsals after a second backup, %+v", n, b.m.Status().Rehearsed)
	}
	if n := a.count(isRehearsal); n != 0 {
		t.Fatalf("the active rehearsed %d times", n)
	}
}

func TestWhatIsStagedAndPassedIsNotRehearsedAgainAfterARestart(t *testing.T) {
	r := newRig(t)
	a := r.active()
	b := r.startWith("b", Journal{}, func(p *Params) {
		p.Cached = r.head().Newest
		p.Rehearsed = Rehearsed{Backup: p.Cached.ID}
	})
	r.pass(time.Minute, a, b)
	if n := b.count(isRehearsal); n != 0 {
		t.Fatalf("%d rehearsals", n)
	}
}

func TestTheRehearsalPolicyIsFollowed(t *testing.T) {
	for text, want := range map[string]int{"every backup": 8, "every 30m": 2, "off": 0} {
		policy, err := ParseRehearsalPolicy(text)
		if err != nil {
			t.Fatal(err)
		}
		r := newRig(t)
		a, b := r.active(), r.rehearsing(policy)
		r.pass(39*time.Minute, a, b) // a backup every five minutes
		if got := b.count(isRehearsal); got != want {
			t.Errorf("%s: %d rehearsals in 39 minutes, want %d", text, got, want)
		}
	}
	for _, bad := range []string{"", "every", "every -1m", "every 0s", "sometimes", "every backups"} {
		if _, err := ParseRehearsalPolicy(bad); err == nil {
			t.Errorf("%q was taken for a policy", bad)
		}
	}
}

func TestAnInstanceThatDoesNotRehearseDropsItsStage(t *testing.T) {
	r := newRig(t)
	a := r.active()
	r.fail = func(_ *instance, e Effect) (Done, bool) {
		u, ok := e.(Unstage)
		return Done{ID: u.ID, Outcome: Failed, Err: errors.New("busy")}, ok && r.now < time.Minute
	}
	b := r.startWith("b", Journal{}, func(p *Params) { p.Rehearsal.Off = true })
	r.pass(5*time.Minute, a, b)
	drops := b.count(func(e Effect) bool { _, ok := e.(Unstage); return ok })
	if drops != 2 || b.m.rehearsal.staged {
		t.Fatalf("dropped %d times, staged %v", drops, b.m.rehearsal.staged)
	}
}

func TestAFailedRehearsalIsToldTriedAgainAndKeepsFromBeingPromotedTo(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	a.m.schedule.frequency = 0
	r.pass(time.Minute, a, b)
	r.fail = func(_ *instance, e Effect) (Done, bool) {
		h, ok := e.(Rehearse)
		return Done{ID: h.ID, Outcome: Failed, Err: errors.New("table t is damaged")}, ok && h.Ref.ID == "e1-s2"
	}
	a.backup(b)
	alarms := b.count(func(e Effect) bool {
		report, ok := e.(Report)
		return ok && report.Level == Alarm && report.Kind == "rehearsal"
	})
	if got := b.m.Status().Rehearsed; alarms != 1 || got.Error != "table t is damaged" {
		t.Fatalf("%d alarms, %+v", alarms, got)
	}
	before := b.count(isRehearsal)
	r.pass(time.Hour, a, b)
	if n := b.count(isRehearsal) - before; n < 4 || n > 6 {
		t.Errorf("tried %d more times within an hour", n)
	}
	b.step(Promote{Request: "no"})
	wantRefusal(t, b.answers["no"], "--allow-failed-rehearsal")
	older := *r.head().Newest
	older.ID, older.Sequence = "e1-s1", 1
	b.step(Promote{Request: "yes", Mode: ModeFailover, Chosen: &older})
	r.pass(time.Minute, a, b)
	if b.answers["yes"] != nil || r.head().Epoch != 2 {
		t.Fatalf("an older backup: %v", b.answers["yes"])
	}
}

func TestANewerBackupIsRehearsedAtOnceAfterAFailure(t *testing.T) {
	r := newRig(t)
	a := r.active()
	r.fail = func(_ *instance, e Effect) (Done, bool) {
		h, ok := e.(Rehearse)
		return Done{ID: h.ID, Outcome: Failed, Err: errors.New("no")}, ok && h.Ref.ID == "e1-s1"
	}
	b := r.rehearsing(RehearsalPolicy{Every: time.Hour})
	r.pass(5*time.Second, a, b)
	a.backup(b)
	if got := b.m.Status().Rehearsed; got != (Rehearsed{Backup: "e1-s2"}) {
		t.Fatalf("%+v", got)
	}
}

func TestAPromotionMayOverrideAFailedRehearsal(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(time.Minute, a, b)
	b.m.rehearsal.newest = Rehearsed{Backup: r.head().Newest.ID, Error: "no"}
	b.step(Promote{Request: "p", Mode: ModeFailover, AllowFailedRehearsal: true})
	allowed := b.count(func(e Effect) bool { s, ok := e.(Stage); return ok && s.AllowFailed })
	r.pass(30*time.Second, a, b)
	if allowed != 1 || b.answers["p"] != nil || r.head().Epoch != 2 {
		t.Fatalf("%d stages, answer %v, epoch %d", allowed, b.answers["p"], r.head().Epoch)
	}
}

func TestAPromotionCancelsARehearsalWhichThenHasNotFailed(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	var rehearsal Rehearse
	r.fail = func(_ *instance, e Effect) (Done, bool) {
		h, ok := e.(Rehearse)
		if ok {
			rehearsal = h
		}
		return Done{}, ok // of no effect
	}
	a.backup(b)
	b.step(Promote{Request: "p", Mode: ModeFailover})
	if n := b.count(func(e Effect) bool { c, ok := e.(Cancel); return ok && c.ID == rehearsal.ID }); n != 1 {
		t.Fatalf("cancelled %d times", n)
	}
	b.step(Done{ID: rehearsal.ID, Outcome: Failed, Err: errors.New("cancelled")})
	if got := b.m.Status().Rehearsed; got.Error != "" {
		t.Fatalf("taken for a failure: %+v", got)
	}
	r.pass(30*time.Second, a, b)
	if b.answers["p"] != nil || r.head().Epoch != 2 {
		t.Fatalf("answer %v, epoch %d", b.answers["p"], r.head().Epoch)
	}
}

func TestNothingIsRehearsedWhileSomethingIsOwed(t *testing.T) {
	r := newRig(t)
	a := r.active()
	r.fail = func(_ *instance, e Effect) (Done, bool) {
		s, ok := e.(MakeSalvage)
		return Done{ID: s.ID, Outcome: Failed, Err: errors.New("the database is down")}, ok
	}
	b := r.start("b", Journal{Demotion: &Demotion{Acked: true, Known: true}})
	r.pass(time.Minute, a, b)
	if n := b.count(isRehearsal); n != 0 || b.m.pull.newest == nil {
		t.Fatalf("%d rehearsals, pulled %v", n, b.m.pull.newest)
	}
	r.fail = nil
	r.pass(2*time.Minute, a, b)
	if n := b.count(isRehearsal); n == 0 {
		t.Fatal("not rehearsed once all was settled")
	}
}

func TestTheApplicationStartsBeforeWhatWasReplacedIsSetAside(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(time.Minute, a, b)
	b.step(Promote{Request: "p"})
	r.pass(time.Minute, a, b)
	if b.answers["p"] != nil {
		t.Fatal(b.answers["p"])
	}
	started, discarded := false, false
	for _, e := range b.seen {
		switch e.(type) {
		case StartApp:
			started = true
		case Discard:
			discarded = true
			if !started {
				t.Fatal("set aside before the application was started")
			}
		}
	}
	if !discarded {
		t.Error("never set aside")
	}
}

// TestNothingWaitsForWhatCannotBeSetAside has every discard fail: the promotion
// ends, backups are made, the lease is free for the next promotion, and the
// discard is tried again.
func TestNothingWaitsForWhatCannotBeSetAside(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.fail = func(n *instance, e Effect) (Done, bool) {
		d, ok := e.(Discard)
		return Done{ID: d.ID, Outcome: Failed, Err: errors.New("no luck")}, ok
	}
	r.pass(time.Minute, a, b)
	b.step(Promote{Request: "there"})
	r.pass(10*time.Minute, a, b)
	if last := b.m.Status().Last; last == nil || !last.Promoted || b.m.Status().Promotion != nil {
		t.Fatalf("the promotion has not ended: %+v", last)
	}
	if text := b.m.Status().WorkError; !strings.Contains(text, "cannot be set aside") || !strings.Contains(text, "no luck") {
		t.Errorf("the status says %q", text)
	}
	if n := b.count(func(e Effect) bool { _, ok := e.(MakeBackup); return ok }); n < 2 {
		t.Errorf("%d backups were made", n)
	}
	if n := b.count(func(e Effect) bool { _, ok := e.(Discard); return ok }); n < 3 {
		t.Errorf("tried %d times", n)
	}
	a.step(Promote{Request: "back"})
	r.pass(10*time.Minute, a, b)
	if last := a.m.Status().Last; last == nil || !last.Promoted {
		t.Fatalf("the promotion back has not ended: %+v", last)
	}
	if s := b.m.Status(); s.Role != RoleStandby || s.Demotion != nil || s.Pulled != a.m.Status().Head.Newest.ID {
		t.Errorf("b has not stepped down, or pulls nothing: %+v", s)
	}
}

// TestWhatCannotBePutBackIsSaid: a promotion that failed, and cannot be undone
// either, says so for as long as it tries.
func TestWhatCannotBePutBackIsSaid(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(time.Minute, a, b)
	r.fail = func(_ *instance, e Effect) (Done, bool) {
		switch e := e.(type) {
		case Stage:
			return Done{ID: e.ID, Outcome: Failed, Err: errors.New("no stage")}, true
		case Rollback:
			return Done{ID: e.ID, Outcome: Failed, Err: errors.New("something is in the way")}, true
		}
		return Done{}, false
	}
	b.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(time.Minute, a, b)
	s := b.m.Status()
	if s.Promotion == nil || s.Waiting == nil || !strings.Contains(s.Waiting.For, "something is in the way") || !strings.Contains(s.WorkError, "something is in the way") {
		t.Errorf("waits for %+v, %q", s.Waiting, s.WorkError)
	}
	r.fail = nil
	r.pass(time.Minute, a, b)
	if s := b.m.Status(); s.Promotion != nil || s.WorkError != "" || b.answers["p"] == nil {
		t.Errorf("once it can be: %+v, %q", s.Promotion, s.WorkError)
	}
}

func isPull(e Effect) bool { _, ok := e.(Pull); return ok }

// TestPullsGoOnBesideARehearsal: one that takes longer than backups are apart
// does not keep the cache behind, and only the newest is rehearsed after it.
func TestPullsGoOnBesideARehearsal(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	var slow []Rehearse
	r.fail = func(_ *instance, e Effect) (Done, bool) {
		h, ok := e.(Rehearse)
		if ok {
			slow = append(slow, h)
		}
		return Done{}, ok // it goes on
	}
	a.backup(b)
	a.backup(b)
	s := b.m.Status()
	if n := b.count(isPull); n != 3 || s.Pulled != "e1-s3" || len(slow) != 1 || s.Work != "rehearsal" {
		t.Fatalf("%d pulls, %d rehearsals, %+v", n, len(slow), s)
	}
	r.fail = nil
	b.step(Done{ID: slow[0].ID})
	if got := b.m.Status().Rehearsed; got != (Rehearsed{Backup: "e1-s3"}) || b.count(isRehearsal) != 3 {
		t.Fatalf("%+v after %d rehearsals", got, b.count(isRehearsal))
	}
}

// TestAPromotionEndsPullAndRehearsal, and restores nothing before both have
// ended; that they were cut short is no failure.
func TestAPromotionEndsPullAndRehearsal(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	var rehearsal, pull uint64
	r.fail = func(_ *instance, e Effect) (Done, bool) {
		switch e := e.(type) {
		case Rehearse:
			rehearsal = e.ID
			return Done{}, true
		case Pull:
			pull = e.ID
			return Done{}, e.Ref.Sequence == 3
		}
		return Done{}, false
	}
	a.backup(b)
	a.backup(b)
	if got := b.m.Status().Work; got != "rehearsal, pull" {
		t.Fatalf("under way: %q", got)
	}
	b.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(5*time.Second, b)
	for _, id := range []uint64{rehearsal, pull} {
		if n := b.count(func(e Effect) bool { c, ok := e.(Cancel); return ok && c.ID == id }); n != 1 {
			t.Errorf("%d was cancelled %d times", id, n)
		}
	}
	r.fail = nil
	isStage := func(e Effect) bool { _, ok := e.(Stage); return ok }
	for _, id := range []uint64{rehearsal, pull} {
		if b.count(isStage) != 0 {
			t.Error("a restore began beside something else")
		}
		b.step(Done{ID: id, Outcome: Failed, Err: errors.New("cancelled")})
		r.pass(time.Second, b)
	}
	r.pass(30*time.Second, b)
	if b.count(isStage) != 1 || r.head().Epoch != 2 {
		t.Errorf("%d restores, epoch %d", b.count(isStage), r.head().Epoch)
	}
	if n := b.count(func(e Effect) bool { report, ok := e.(Report); return ok && report.Level == Alarm }); n != 0 {
		t.Errorf("%d alarms", n)
	}
}
