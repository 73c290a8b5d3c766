package agent

import (
	"slices"
	"testing"

	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/report"
)

// What is wrong on one instance is red on every one, until it is over.
func TestATroubleIsRedEverywhereUntilItIsOver(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b := c.host("host-a"), c.host("host-b")
		a.init()
		a.start()
		b.join(false)
		b.start()
		sound := func(s report.Status) bool { return s.Healthy }
		b.until("healthy", sound)

		const text = "the volume of files is away: mount it"
		b.agent.tell.Trouble(t.Context(), "source", "files", text)
		b.agent.tell.Trouble(t.Context(), "source", "files", text)
		if s := b.agent.Status(); s.Healthy || !slices.Contains(s.Problems, text) {
			t.Errorf("with a trouble host-b is healthy (%v), its problems are %q", s.Healthy, s.Problems)
		}
		a.until("host-b's trouble", func(s report.Status) bool { return !s.Healthy && slices.Contains(s.Problems, "host-b: "+text) })
		if n := b.told(event.Alarm, "source", text); n != 1 {
			t.Errorf("the same trouble was told of %d times", n)
		}

		b.agent.tell.TroubleOver(t.Context(), "source", "files", "the volume of files is back")
		b.until("healthy", sound)
		a.until("healthy", sound)
		if n := b.told(event.Info, "source", "the volume of files is back"); n != 1 {
			t.Errorf("the end of the trouble was told of %d times", n)
		}
	})
}
