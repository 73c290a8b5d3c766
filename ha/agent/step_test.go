package agent

import (
	"slices"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
)

func TestStepsAreListedOnceAndSaidToBeForSomething(t *testing.T) {
	names := Steps()
	slices.Sort(names)
	if once := slices.Compact(slices.Clone(names)); len(once) != len(names) {
		t.Errorf("of %d steps only %d differ", len(names), len(once))
	}
	for _, s := range steps {
		if s[1] == "" {
			t.Errorf("the step %s makes nothing durable", s[0])
		}
	}
}

func TestAJournalIsNamedAfterWhatItSaysThatTheOneBeforeDidNot(t *testing.T) {
	ref := &backup.Ref{ID: "b"}
	for _, c := range []struct {
		step     string
		was, now ha.Journal
	}{
		{"journal.seen", ha.Journal{}, ha.Journal{Seen: ha.Position{Rev: 2}}},
		{"journal.head", ha.Journal{}, ha.Journal{Pending: &ha.Pending{Nonces: []string{"n"}}}},
		{"journal.head", ha.Journal{Pending: &ha.Pending{Nonces: []string{"n"}}}, ha.Journal{Pending: &ha.Pending{Nonces: []string{"n", "o"}}}},
		{"journal.commit", ha.Journal{Marked: 1}, ha.Journal{Marked: 2, Pending: &ha.Pending{Nonces: []string{"n"}, Commit: true}}},
		{"journal.settled", ha.Journal{Pending: &ha.Pending{Nonces: []string{"n"}}}, ha.Journal{}},
		{"journal.first", ha.Journal{First: true, Pending: &ha.Pending{Nonces: []string{"n"}}}, ha.Journal{}},
		{"journal.marked", ha.Journal{}, ha.Journal{Marked: 2}},
		{"journal.paused", ha.Journal{}, ha.Journal{Paused: &ha.Pause{}}},
		{"journal.promotion.lease", ha.Journal{}, ha.Journal{Promotion: &ha.Promotion{Phase: ha.PhaseLease}}},
		{"journal.promotion.finish", ha.Journal{Promotion: &ha.Promotion{Phase: ha.PhaseCommit}}, ha.Journal{Role: ha.RoleActive, First: true, Promotion: &ha.Promotion{Phase: ha.PhaseFinish, Acked: true}}},
		{"journal.promotion.acked", ha.Journal{Promotion: &ha.Promotion{}}, ha.Journal{Promotion: &ha.Promotion{Acked: true}}},
		{"journal.promotion.ended", ha.Journal{Promotion: &ha.Promotion{}}, ha.Journal{}},
		{"journal.handover.stopping", ha.Journal{}, ha.Journal{Handover: &ha.HandoverJournal{Phase: ha.HandoverStopping}}},
		{"journal.handover.final", ha.Journal{Handover: &ha.HandoverJournal{Phase: ha.HandoverFinal}}, ha.Journal{Handover: &ha.HandoverJournal{Phase: ha.HandoverFinal, Final: ref}}},
		{"journal.handover.ended", ha.Journal{Handover: &ha.HandoverJournal{}}, ha.Journal{}},
		{"journal.demotion.begun", ha.Journal{Role: ha.RoleActive}, ha.Journal{Role: ha.RoleStandby, Demotion: &ha.Demotion{}}},
		{"journal.demotion.acked", ha.Journal{Demotion: &ha.Demotion{}}, ha.Journal{Demotion: &ha.Demotion{Acked: true, Made: true}}},
		{"journal.demotion.ended", ha.Journal{Demotion: &ha.Demotion{}}, ha.Journal{}},
	} {
		if got := journalStep(c.was, c.now); got != c.step || !slices.Contains(Steps(), got) {
			t.Errorf("got %s, want %s, listed: %t", got, c.step, slices.Contains(Steps(), got))
		}
	}
}
