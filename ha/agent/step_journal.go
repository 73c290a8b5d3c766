package agent

import (
	"slices"

	"github.com/understudy-ha/understudy/ha"
)

// journalStep names what a journal says that the one before it did not: the
// rarest of it, for a heartbeat may be journalled in the same write.
func journalStep(was, now ha.Journal) string {
	for _, name := range []string{
		promotionStep(was.Promotion, now.Promotion),
		demotionStep(was.Demotion, now.Demotion),
		handoverStep(was.Handover, now.Handover),
	} {
		if name != "" {
			return "journal." + name
		}
	}
	pending := pendingStep(was.Pending, now.Pending)
	switch {
	case was.First != now.First:
		return "journal.first"
	case pending == "journal.commit":
		return pending
	case was.Marked != now.Marked:
		return "journal.marked"
	case (was.Paused == nil) != (now.Paused == nil):
		return "journal.paused"
	}
	return pending
}

func promotionStep(was, now *ha.Promotion) string {
	switch {
	case was == nil && now == nil:
		return ""
	case now == nil:
		return "promotion.ended"
	case was == nil:
		was = &ha.Promotion{}
	}
	switch {
	case was.Phase != now.Phase:
		return "promotion." + string(now.Phase)
	case was.Undone != now.Undone:
		return "promotion.undone"
	case was.Acked != now.Acked:
		return "promotion.acked"
	case was.Started != now.Started:
		return "promotion.started"
	}
	return ""
}

func demotionStep(was, now *ha.Demotion) string {
	switch {
	case was == nil && now == nil:
		return ""
	case now == nil:
		return "demotion.ended"
	case was == nil:
		return "demotion.begun"
	case was.Acked != now.Acked:
		return "demotion.acked"
	case was.Known != now.Known:
		return "demotion.known"
	case was.Made != now.Made:
		return "demotion.made"
	}
	return ""
}

func handoverStep(was, now *ha.HandoverJournal) string {
	switch {
	case was == nil && now == nil:
		return ""
	case now == nil:
		return "handover.ended"
	case was == nil || was.Phase != now.Phase || was.Final == nil && now.Final != nil:
		return "handover." + string(now.Phase)
	}
	return ""
}

func pendingStep(was, now *ha.Pending) string {
	switch {
	case now == nil && was != nil:
		return "journal.settled"
	case now == nil, was != nil && slices.Equal(was.Nonces, now.Nonces):
		return "journal.seen"
	case now.Commit:
		return "journal.commit"
	}
	return "journal.head"
}
