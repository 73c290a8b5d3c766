package ha

import (
	"slices"
	"testing"
	"time"
)

// saidBy is what an instance has said that its journals and its writes are for.
func saidBy(n *instance) (steps []string) {
	for _, e := range n.seen {
		switch e := e.(type) {
		case Save:
			steps = append(steps, "journal."+string(e.Step))
		case Write:
			steps = append(steps, string(e.Step))
		}
	}
	return steps
}

// wantSteps checks that an instance has said these, in this order.
func wantSteps(t *testing.T, n *instance, want ...string) {
	t.Helper()
	said := saidBy(n)
	for _, w := range want {
		i := slices.Index(said, w)
		if i < 0 {
			t.Fatalf("%s is not said, or not in its turn: %v", w, saidBy(n))
		}
		said = said[i+1:]
	}
}

func TestAJournalIsNamedAfterWhatItSaysThatTheOneBeforeDidNot(t *testing.T) {
	r := newRig(t)
	a := r.active()
	b := r.start("b", Journal{})
	r.pass(time.Minute, a, b)
	wantSteps(t, a, "journal.head", "head.claim", "journal.settled", "journal.head", "head.publish", "journal.first", "journal.head", "head.renew")
	wantSteps(t, b, "journal.seen")
	a.step(SetPaused{Request: "pause", Pause: &Pause{By: "alice"}})
	a.step(SetConfig{Request: "config", Digest: "another", Frequency: Duration(time.Hour), Fencing: r.head().Fencing})
	r.pass(time.Minute, a, b)
	wantSteps(t, a, "journal.paused", "head.config")

	b.step(Promote{Request: "p"})
	r.pass(2*time.Minute, a, b)
	wantSteps(t, a, "journal.handover.stopping", "head.preparing", "journal.handover.final", "journal.handover.sent", "head.handed",
		"journal.demotion.begun", "ack", "journal.demotion.made", "salvage.record", "journal.demotion.ended")
	wantSteps(t, b, "journal.promotion.lease", "lease.take", "journal.promotion.pin", "journal.promotion.handover", "journal.promotion.restore",
		"journal.promotion.swap", "journal.promotion.commit", "journal.commit", "head.commit", "journal.promotion.finish",
		"marker", "journal.marked", "journal.promotion.started", "lease.release", "journal.promotion.ended", "journal.first")

	a.step(Promote{Request: "q", Mode: ModeFailover})
	r.pass(2*time.Minute, a, b)
	wantSteps(t, a, "lease.release", "journal.promotion.ended") // at once acknowledged
	wantSteps(t, b, "journal.demotion.begun", "journal.demotion.acked", "journal.demotion.made", "journal.demotion.ended")
}

func TestOfTwoStepsInOneJournalTheRarerOneNamesIt(t *testing.T) {
	for _, c := range []struct{ first, later, want JournalStep }{
		{"", stepSeen, stepSeen},
		{stepSeen, "", stepSeen},
		{stepFirst, stepSettled, stepFirst},
		{stepSettled, stepHead, stepHead},
		{stepMarked, stepCommit, stepCommit},
		{stepHead, HandoverSent.step(), HandoverSent.step()},
		{stepDemotionEnded, PhaseLease.step(), PhaseLease.step()},
		{HandoverFinal.step(), HandoverSent.step(), HandoverSent.step()},
		{PhaseFinish.step(), stepSettled, PhaseFinish.step()},
	} {
		if got := c.first.and(c.later); got != c.want {
			t.Errorf("%q and %q: got %q, want %q", c.first, c.later, got, c.want)
		}
	}
}
