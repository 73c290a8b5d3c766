package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// TestADeadCandidateIsTakenBackFrom kills the candidate once the active has
// handed over, and leaves it dead: the old active goes on by itself as soon as
// the lease is stale, and not before.
func TestADeadCandidateIsTakenBackFrom(t *testing.T) {
	t.Parallel()
	tr := newTrial(t, understudyBin())
	old, candidate, epoch := tr.active, tr.other, tr.epoch
	release := tr.hold(candidate)
	wait := tr.background(candidate, "promote", "--yes")
	tr.until(candidate, "restores", restoring)
	candidate.killAgent()
	dead := time.Now()
	wait()
	if old.app.running(t) {
		t.Fatal("the application runs though the head is handed over")
	}
	tr.until(old, "goes on", func(s report.Status) bool { return s.Handover == nil && s.Leading && s.App == "running" })
	fencing := query[report.Status](old, "status").Config
	stale := time.Duration(fencing.TTL + fencing.Margin)
	if took := time.Since(dead); took < stale/2 {
		t.Errorf("taken back after %v, though the lease is good for %v", took, stale)
	} else {
		t.Logf("taken back %v after the candidate's death; ttl and margin are %v", took.Round(time.Millisecond), stale)
	}
	release() // or its rehearsal would be held up as its restore was
	tr.launch(candidate)
	tr.settle()
	tr.check()
	if tr.active != old || tr.epoch != epoch {
		t.Fatalf("%s is the active in epoch %d", tr.active.name, tr.epoch)
	}
}

func restoring(s report.Status) bool {
	return s.Promotion != nil && s.Promotion.Phase == ha.PhaseRestore
}

// TestAPromotionCanBeCancelled gives a promotion up wherever it can be held up,
// and finds everything as before.
func TestAPromotionCanBeCancelled(t *testing.T) {
	t.Parallel()
	// Who is asked for the handover may take three polls and a second to answer.
	tr := newTrialPolling(t, understudyBin(), time.Second)
	if r := tr.other.try("promote", "--cancel"); r.code != 3 {
		t.Errorf("with nothing under way: %+v", r)
	}
	tr.cancelled("while it waits for the handover", func() (phase ha.Phase, release func()) {
		return ha.PhaseHandover, tr.freeze(tr.active)
	})
	tr.cancelled("while it restores", func() (phase ha.Phase, release func()) {
		return ha.PhaseRestore, tr.hold(tr.other)
	})
	tr.tooLate()
	tr.promote() // and back
	tr.check()
}

// cancelled cancels a switchover in a phase in which something holds it up.
func (tr *trial) cancelled(when string, holdUp func() (phase ha.Phase, release func())) {
	tr.t.Helper()
	old, epoch := tr.active, tr.epoch
	phase, release := holdUp()
	wait := tr.background(tr.other, "promote", "--yes")
	tr.until(tr.other, when, func(s report.Status) bool { return s.Promotion != nil && s.Promotion.Phase == phase })
	if p := query[promotions.PromotionStatus](tr.other, "promote", "--cancel"); p.State != promotions.PromotionRolledBack || query[report.Status](tr.other, "status").Promotion != nil {
		tr.t.Errorf("cancelled %s, and said so too early: %+v", when, p)
	}
	if r := wait(); r.code != 1 || !strings.Contains(r.errout, "cancelled by socket") {
		tr.t.Errorf("cancelled %s: %+v", when, r)
	}
	release()
	tr.settle()
	tr.check()
	if tr.active != old || tr.epoch != epoch {
		tr.t.Fatalf("cancelled %s, and %s is the active in epoch %d", when, tr.active.name, tr.epoch)
	}
}

// tooLate cancels a failover that waits for the old active's acknowledgement:
// it has committed, and goes on.
func (tr *trial) tooLate() {
	tr.t.Helper()
	tr.rest()
	tr.active.run("config", "set", "ttl", "2m") // it would wait for so long
	epoch, thaw := tr.epoch, tr.freeze(tr.active)
	wait := tr.background(tr.other, "promote", "--failover", "--yes")
	tr.until(tr.other, "has committed", func(s report.Status) bool { return s.Promotion != nil && s.Promotion.Phase == ha.PhaseFinish })
	if r := tr.other.try("promote", "--cancel"); r.code != 3 || !strings.Contains(r.errout, "too late") {
		tr.t.Errorf("cancelled after the commit: %+v", r)
	}
	thaw()
	if r := wait(); r.code != 0 {
		tr.t.Errorf("promote: %+v", r)
	}
	tr.settle()
	tr.check()
	if tr.epoch != epoch+1 {
		tr.t.Fatalf("the epoch went from %d to %d", epoch, tr.epoch)
	}
}
