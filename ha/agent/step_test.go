package agent

import (
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/runner"
)

// TestEveryStepOfASwitchoverIsListed checks that what the machine says a journal or a
// write is for is one of the steps.
func TestEveryStepOfASwitchoverIsListed(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		passed := make(chan string, 1<<16)
		a, b := c.host("a"), c.host("b")
		for _, h := range []*host{a, b} {
			h.change = func(cfg *Config) { cfg.Step = func(point string) { passed <- point } }
		}
		a.init()
		a.start()
		a.untilLeading()
		b.join(false)
		b.start()
		b.untilCached(a.backup())
		b.promote(promotions.PromotionRequest{})
		a.until("standby", func(s report.Status) bool { return s.Role == ha.RoleStandby && s.Demotion == nil })
		listed, seen := runner.StepNames(), map[string]bool{}
		for len(passed) > 0 {
			step, _ := strings.CutSuffix(<-passed, ".before")
			step, _ = strings.CutSuffix(step, ".after")
			if seen[step] = true; !slices.Contains(listed, step) {
				t.Errorf("the step %q is not listed", step)
			}
		}
		for _, step := range []string{"journal.promotion.finish", "journal.handover.sent", "journal.demotion.begun", "head.claim", "head.handed", "head.commit", "lease.take", "lease.release", "marker", "ack", "salvage.record"} {
			if !seen[step] {
				t.Errorf("nobody says %s", step)
			}
		}
	})
}
