package ha

import (
	"slices"
	"strings"
)

// JournalStep says what a version of the journal is saved for. Crash points and
// counters of failures are named after it.
type JournalStep string

// Steps of the journal. A promotion's and a handover's are named after the phase that
// begins, or after one of these.
const (
	stepSeen    JournalStep = "seen" // a newer head, or another thing that is only to be remembered
	stepHead    JournalStep = "head" // an attempt to write it
	stepCommit  JournalStep = "commit"
	stepSettled JournalStep = "settled" // what became of the attempts
	stepPaused  JournalStep = "paused"
	stepMarked  JournalStep = "marked"
	stepFirst   JournalStep = "first"

	stepPromotionUndone  JournalStep = "promotion.undone"
	stepPromotionAcked   JournalStep = "promotion.acked"
	stepPromotionStarted JournalStep = "promotion.started"
	stepPromotionEnded   JournalStep = "promotion.ended"

	stepHandoverEnded JournalStep = "handover.ended"

	stepDemotionBegun JournalStep = "demotion.begun"
	stepDemotionAcked JournalStep = "demotion.acked"
	stepDemotionKnown JournalStep = "demotion.known"
	stepDemotionMade  JournalStep = "demotion.made"
	stepDemotionEnded JournalStep = "demotion.ended"
)

func (p Phase) step() JournalStep         { return JournalStep("promotion." + p) }
func (p HandoverPhase) step() JournalStep { return JournalStep("handover." + p) }

// rareFirst orders steps, by what they begin with.
var rareFirst = []JournalStep{"promotion.", "demotion.", "handover.", stepFirst, stepCommit, stepMarked, stepPaused, stepHead, stepSettled, stepSeen}

// and names a version of the journal that is saved for two steps: after the rarer one,
// for a heartbeat may be journalled in the same write; of two alike after the later one.
func (s JournalStep) and(later JournalStep) JournalStep {
	rank := func(s JournalStep) int {
		return slices.IndexFunc(rareFirst, func(r JournalStep) bool { return strings.HasPrefix(string(s), string(r)) })
	}
	if s == "" || later != "" && rank(later) <= rank(s) {
		return later
	}
	return s
}

// WriteStep says what the write of a control object is for.
type WriteStep string

// Steps that are writes. A head that says how far a handover is, is named after that.
const (
	stepHeadClaim     WriteStep = "head.claim"
	stepHeadRenew     WriteStep = "head.renew"
	stepHeadPublish   WriteStep = "head.publish"
	stepHeadConfig    WriteStep = "head.config"
	stepHeadStreams   WriteStep = "head.streams"
	stepHeadReturned  WriteStep = "head.returned"
	stepHeadCommit    WriteStep = "head.commit"
	stepLeaseTake     WriteStep = "lease.take"
	stepLeaseRenew    WriteStep = "lease.renew"
	stepLeaseRelease  WriteStep = "lease.release"
	stepMarker        WriteStep = "marker"
	stepAck           WriteStep = "ack"
	stepSalvageRecord WriteStep = "salvage.record"
)
