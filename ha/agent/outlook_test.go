package agent

import (
	"context"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/ha"
)

// TestTheStatusSaysWhetherAPromotionWouldWork: on the standby, and on the
// active.
func TestTheStatusSaysWhetherAPromotionWouldWork(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		b.until("ready", func(s Status) bool {
			return strings.HasPrefix(s.Outlook, "a switchover would lose nothing") && strings.HasSuffix(s.Outlook, "that backup is rehearsed")
		})
		a.until("the active knows who could take over", func(s Status) bool {
			return strings.HasPrefix(s.Outlook, "this instance is the active; b or d could take over and lose nothing")
		})
		lacking := *b.agent.live()
		lacking.Hooks.Promote = Hook{Command: []string{"/no/such/program"}}
		lacking.AppVersion = func(context.Context) (string, error) { return "2", nil }
		if err := b.agent.Reload(t.Context(), lacking); err != nil {
			t.Fatal(err)
		}
		s := b.until("it lacks its promote hook", func(s Status) bool { return len(s.Blockers) > 0 })
		if !strings.HasPrefix(s.Outlook, "not now: ") || !strings.Contains(s.Outlook, "/no/such/program") || s.Healthy {
			t.Errorf("%q: %q", s.Outlook, s.Problems)
		}
		if p, err := b.agent.Preflight(t.Context(), PromoteRequest{Mode: ha.ModeFailover}); err != nil || p.OK {
			t.Errorf("and a promotion would work: %+v, %v", p, err)
		}
		lacking.Hooks.Promote = Hook{Command: []string{"true"}}
		if err := b.agent.Reload(t.Context(), lacking); err != nil {
			t.Fatal(err)
		}
		b.until("it has everything", func(s Status) bool { return s.Healthy && len(s.Blockers) == 0 })
		a.halt()
		b.until("the active is silent", func(s Status) bool {
			return strings.HasPrefix(s.Outlook, "by failover only: a is silent for")
		})
	})
}
