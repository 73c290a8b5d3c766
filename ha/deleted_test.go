package ha

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func (r *rig) remove(key string) {
	delete(r.objects, key)
	delete(r.tokens, key)
}

func isSalvage(e Effect) bool { _, ok := e.(MakeSalvage); return ok }

// TestADeletedHeadIsWrongUntilItIsBack: that other objects can be read does not make
// the bucket one that can be used.
func TestADeletedHeadIsWrongUntilItIsBack(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	saved, token := r.objects[HeadKey], r.tokens[HeadKey]
	r.remove(HeadKey)
	r.pass(20*time.Second, a, b)
	for range 30 {
		r.pass(time.Second, a, b)
		for _, n := range []*instance{a, b} {
			if s := n.m.Status(); !strings.Contains(s.Bucket, "no head.json") {
				t.Fatalf("%s: bucket %q", n.name, s.Bucket)
			}
		}
	}
	b.step(Promote{Request: "p", Mode: ModeFailover})
	wantRefusal(t, b.answers["p"], "no head.json")
	again := func(e Effect) bool {
		rep, ok := e.(Report)
		return ok && strings.Contains(rep.Text, "can be used again")
	}
	if n := b.count(again); n > 0 {
		t.Errorf("the bucket was said to be well %d times", n)
	}
	r.objects[HeadKey], r.tokens[HeadKey] = saved, token
	r.pass(30*time.Second, a, b)
	if a.m.Status().Bucket != "ok" || b.m.Status().Bucket != "ok" || b.count(again) != 1 || !a.app {
		t.Fatalf("afterwards: %+v, %+v", a.m.Status(), b.m.Status())
	}
}

// TestAMissedEpochWithoutAMarkerIsKept: a standby that was the active and was put
// back to before keeps what it has, though somebody deleted the marker that tells.
func TestAMissedEpochWithoutAMarkerIsKept(t *testing.T) {
	r := newRig(t)
	a, b, c := r.active(), r.start("b", Journal{}), r.start("c", Journal{})
	r.pass(20*time.Second, a, b, c)
	before := b.journal
	b.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(time.Minute, a, b, c)
	r.pass(100*time.Second, a, c) // b is off
	c.step(Promote{Request: "q", Mode: ModeFailover})
	r.pass(2*time.Minute, a, c)
	if h := r.head(); h.Epoch != 3 || h.Active.Name != "c" {
		t.Fatalf("head %+v", h)
	}
	r.remove(MarkerKey(2))
	b = r.start("b", before)
	r.pass(time.Minute, b, c)
	if b.count(isSalvage) == 0 {
		t.Error("a standby that was the active keeps nothing")
	}
	if s := b.m.Status(); s.Demotion != nil || s.Owes {
		t.Errorf("it is not through: %+v", s)
	}
	told := b.count(func(e Effect) bool {
		rep, ok := e.(Report)
		return ok && strings.Contains(rep.Text, "its marker is missing")
	})
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}

// TestACommitOfWhichNobodyTellsLosesNothing: its answer was lost, a later epoch has
// begun, and the marker that says who began this one's is gone.
func TestACommitOfWhichNobodyTellsLosesNothing(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		r := newRig(t)
		a, b, c := r.active(), r.start("b", Journal{}), r.start("c", Journal{})
		r.pass(20*time.Second, a, b, c)
		landed := false
		r.fail = func(n *instance, e Effect) (Done, bool) {
			if w, ok := e.(Write); ok && n == b && w.Key == HeadKey && !landed {
				landed = true
				r.put(HeadKey, w.Object)
			}
			if !landed {
				return Done{}, false
			}
			return cutOff(b)(n, e)
		}
		b.step(Promote{Request: "p", Mode: ModeFailover})
		r.pass(5*time.Second, b)
		r.pass(100*time.Second, c)
		c.step(Promote{Request: "q", Mode: ModeFailover})
		r.pass(60*time.Second, c)
		r.remove(MarkerKey(2))
		r.fail = nil
		if restarted { // its data folder may have been put back to this
			b = r.start("b", b.journal)
		}
		r.pass(60*time.Second, b, c)
		undone := b.count(func(e Effect) bool { _, ok := e.(Rollback); return ok })
		if !b.done["p"] || b.answers["p"] == nil || b.app || b.m.Status().Role != RoleStandby {
			t.Errorf("restarted %v: answer %v, %+v", restarted, b.answers["p"], b.m.Status())
		}
		if restarted && (undone > 0 || b.count(isSalvage) == 0) {
			t.Errorf("%d rollbacks, %d salvages", undone, b.count(isSalvage))
		}
		if !restarted && undone == 0 {
			t.Errorf("what it has swapped in stays")
		}
	}
}

// TestADataFolderThatWasPutBackAmidItsPromotionKeepsWhatItWrote: it was found to be a
// copy, and nothing is done with it until an operator accepts it. By then another
// instance leads.
func TestADataFolderThatWasPutBackAmidItsPromotionKeepsWhatItWrote(t *testing.T) {
	r := newRig(t)
	a, b, c := r.active(), r.start("b", Journal{}), r.start("c", Journal{})
	r.pass(20*time.Second, a, b, c)
	var amid Journal
	r.fail = func(n *instance, e Effect) (Done, bool) {
		if _, ok := e.(Swap); ok && n == b {
			amid = n.journal
		}
		return Done{}, false
	}
	b.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(time.Minute, a, b, c)
	if !b.app || amid.Promotion == nil {
		t.Fatalf("not promoted: %+v", b.m.Status())
	}
	amid.Suspect("the data folder was copied")
	b = r.start("b", amid)
	r.pass(time.Minute, b, c)
	r.pass(time.Minute, c)
	c.step(Promote{Request: "q", Mode: ModeFailover})
	if r.pass(2*time.Minute, b, c); r.head().Epoch != 3 {
		t.Fatalf("head %+v", r.head())
	}
	j := b.journal
	if j.Promotion == nil || j.Promotion.Phase == PhaseRollback {
		t.Errorf("what is unfinished was touched before anybody accepted the folder: %+v", j.Promotion)
	}
	j.Doubt = ""
	b = r.start("b", j)
	r.pass(time.Minute, b, c)
	if b.count(isSalvage) == 0 || b.m.Status().Owes {
		t.Errorf("%d salvages, %+v", b.count(isSalvage), b.m.Status())
	}
}

// TestAJournalThatWasPutBackToAHandoverSalvages: the handover was taken back since,
// and the application has written.
func TestAJournalThatWasPutBackToAHandoverSalvages(t *testing.T) {
	r := newRig(t)
	a, b, c := r.active(), r.start("b", Journal{}), r.start("c", Journal{})
	r.pass(20*time.Second, a, b, c)
	b.hold = true
	b.step(Promote{Request: "p"})
	r.pass(15*time.Second, a, b, c)
	handed := a.journal
	if handed.Handover == nil || handed.Handover.Final == nil {
		t.Fatalf("not handed over: %+v", handed)
	}
	r.pass(100*time.Second, a, c) // b dies: taken back
	if !a.app {
		t.Fatal("not taken back")
	}
	c.step(Promote{Request: "q", Mode: ModeFailover, Chosen: handed.Handover.Final})
	r.pass(10*time.Second, c)
	a = r.start("a", handed)
	r.pass(time.Minute, a, c)
	if r.head().Epoch != 2 || a.count(isSalvage) == 0 {
		t.Errorf("epoch %d, %d salvages", r.head().Epoch, a.count(isSalvage))
	}
}

// TestWhatARefusedProcessHasKeptIsKeptAgainOnceItHasLed: its journal was put back to
// when it was refused and had kept everything; it has led, and written, since.
func TestWhatARefusedProcessHasKeptIsKeptAgainOnceItHasLed(t *testing.T) {
	r := newRig(t)
	a := r.active()
	r.pass(20*time.Second, a)
	copied := r.start("a", a.journal)
	r.pass(time.Minute, copied, a)
	if a.count(isSalvage) != 1 || a.m.Status().Refused == "" {
		t.Fatalf("%d salvages, %+v", a.count(isSalvage), a.m.Status())
	}
	refused, listed := a.journal, len(r.salvages())
	same := r.start("a", refused)
	r.pass(time.Minute, copied, same)
	if got := len(r.salvages()); got != listed || same.count(isSalvage) != 1 || !same.journal.Demotion.Told {
		t.Fatalf("looked %d times, listed %d and then %d: it has written nothing", same.count(isSalvage), listed, got)
	}
	// An operator had its application started without the bucket, or nothing could stop
	// it, and its journal was put back to before.
	r.wrote = true
	since := r.start("a", refused)
	r.pass(time.Minute, copied, since)
	if got := len(r.salvages()); got != listed+1 {
		t.Errorf("listed are %d, and then %d: it has written since", listed, got)
	}
	// The operator ends the copy, and lets this one lead; then its folder is put back.
	led := r.start("a", copied.journal)
	r.pass(time.Minute, led)
	if !led.app {
		t.Fatal("it does not lead")
	}
	again := r.start("a", refused)
	r.pass(time.Minute, again)
	if got := len(r.salvages()); got != listed+2 {
		t.Errorf("listed are %d, and then %d: it has led since", listed, got)
	}
	j := JoinJournal(refused, "c", "a", r.head())
	if d := j.Demotion; d == nil || d.Made || !alike(d.Kept, refused.Demotion.Salvage) {
		t.Errorf("it joins, and owes no look at what it has: %+v", d)
	}
}

// TestWhatIsInPlaceIsALaterSwapsOnceTheJournalsIsUndone: a journal that was put back to
// the end of a rollback knows of no other swap. What that one replaced is set aside
// before anything is staged.
func TestWhatIsInPlaceIsALaterSwapsOnceTheJournalsIsUndone(t *testing.T) {
	for _, undone := range []bool{true, false} {
		r := newRig(t)
		a := r.active()
		r.pass(20*time.Second, a)
		j := Journal{Promotion: &Promotion{ID: "p", Mode: ModeFailover, Phase: PhaseRollback, Epoch: 1, Swapped: true, Undone: undone}}
		b := r.startWith("b", j, func(p *Params) { p.Swapped = true })
		r.pass(time.Minute, a, b)
		discards := b.count(func(e Effect) bool { _, ok := e.(Discard); return ok })
		rollbacks := b.count(func(e Effect) bool { _, ok := e.(Rollback); return ok })
		if (discards > 0) != undone || (rollbacks > 0) == undone {
			t.Errorf("undone %v: %d discards, %d rollbacks, %+v", undone, discards, rollbacks, b.m.Status().Promotion)
		}
	}
}

// TestNothingIsSaidOfAnApplicationThatNobodyHasLookedAt: an agent that is started
// again amid a handover stops the application first, whoever has started it meanwhile.
func TestNothingIsSaidOfAnApplicationThatNobodyHasLookedAt(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	b.hold = true
	b.step(Promote{Request: "p"})
	r.pass(15*time.Second, a, b)
	if h := a.journal.Handover; h == nil || h.Phase != HandoverSent {
		t.Fatalf("not handed over: %+v", h)
	}
	r.fail = func(_ *instance, e Effect) (Done, bool) {
		s, ok := e.(StopApp)
		return Done{ID: s.ID, Outcome: Failed, Err: errors.New("it does not stop")}, ok
	}
	a = r.start("a", a.journal)
	r.pass(20*time.Second, a)
	if n := a.count(writesOf(HeadKey)); n > 0 {
		t.Errorf("the head was written %d times while the application may run", n)
	}
	r.fail = nil
	r.pass(time.Minute, a)
	if a.count(writesOf(HeadKey)) == 0 || !a.m.Status().Leading {
		t.Errorf("it does not go on: %+v", a.m.Status())
	}
}

// TestASwapThatTheJournalDoesNotKnowIsUndoneWithTheApplicationStopped: the journal was
// put back to just before it.
func TestASwapThatTheJournalDoesNotKnowIsUndoneWithTheApplicationStopped(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	b.hold = true // the restore does not end
	b.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(5*time.Second, a, b)
	before := b.journal
	before.Promotion.Phase = PhaseSwap
	stops := false
	r.fail = func(_ *instance, e Effect) (Done, bool) {
		s, ok := e.(StopApp)
		return Done{ID: s.ID, Outcome: Failed, Err: errors.New("it does not stop")}, ok && !stops
	}
	b = r.startWith("b", before, func(p *Params) { p.Swapped = true })
	undone := func(e Effect) bool { _, ok := e.(Rollback); return ok }
	if r.pass(20*time.Second, a, b); b.count(undone) > 0 {
		t.Error("swapped back under an application that may run")
	}
	stops = true
	if r.pass(time.Minute, a, b); b.count(undone) == 0 {
		t.Errorf("not swapped back: %+v", b.m.Status())
	}
}
