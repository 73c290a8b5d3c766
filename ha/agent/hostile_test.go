package agent

import (
	"testing"
	"time"
)

// TestNotificationsCostOneLook, however many they are and whoever sends them:
// no more than one read of the head in a tenth of a second.
func TestNotificationsCostOneLook(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		b.untilCached(a.backup())
		reads := func() int64 { return b.agent.Status().Stats.BucketRequests }
		before := reads()
		for range 20 {
			for range 500 {
				b.agent.notifier.Notified()
			}
			if err := wait(t.Context(), 10*time.Millisecond); err != nil { // on the clock of the test
				t.Fatal(err)
			}
		}
		// 200 ms: two looks, and what else is read meanwhile.
		if after := reads(); after-before > 20 {
			t.Errorf("%d reads for 10,000 notifications in 200 ms", after-before)
		}
	})
}
