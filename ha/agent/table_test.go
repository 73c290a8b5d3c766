package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha/report"
)

// TestNoIdleInstanceLooksUnreachable: whoever looks for the first time in a while
// is answered from a table that may be a minute old. It must not be taken for a
// minute of silence.
func TestNoIdleInstanceLooksUnreachable(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		hosts := []*host{c.host("a")}
		quick := func(cfg *Config) { cfg.Poll = 2 * time.Second }
		hosts[0].change = quick
		hosts[0].init()
		hosts[0].start()
		hosts[0].untilLeading()
		for i := range 5 {
			h := c.host(fmt.Sprintf("b%d", i))
			h.change = quick
			h.join(false)
			h.start()
			hosts = append(hosts, h)
		}
		hosts[0].backup()
		for i := range 20 {
			if err := wait(t.Context(), 45*time.Second+time.Duration(i)*700*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			for _, h := range hosts {
				for _, row := range h.agent.Status().Instances {
					if strings.HasPrefix(row.State, report.StateUnreachable) {
						t.Fatalf("look %d, at %v: %s calls %s %q, which is well", i, time.Since(bubbleStart), h.name, row.Name, row.State)
					}
				}
			}
		}
		hosts[1].halt()
		hosts[0].until("one that is gone is told", func(s report.Status) bool {
			for _, row := range s.Instances {
				if row.Name == hosts[1].name && strings.HasPrefix(row.State, report.StateUnreachable) {
					return true
				}
			}
			return false
		})
	})
}

// What all standbys together read of each other grows with their number.
func TestStandbysOfManyReadTheTableSeldomer(t *testing.T) {
	for instances, want := range map[int]time.Duration{0: tableEvery, 3: tableEvery, 10: tableEvery, 20: 2 * tableEvery, 100: 10 * tableEvery} {
		if got := standbyReads(instances); got != want {
			t.Errorf("of %d instances: %v, want %v", instances, got, want)
		}
	}
}
