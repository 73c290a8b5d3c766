package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha/event"
)

// What is wrong on one instance is red on every one, until it is over.
func TestATroubleIsRedEverywhereUntilItIsOver(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b := c.host("host-a"), c.host("host-b")
		a.init()
		a.start()
		b.join(false)
		b.start()
		sound := func(s Status) bool { return s.Healthy }
		b.until("healthy", sound)

		const text = "the volume of files is away: mount it"
		b.agent.trouble(t.Context(), "source", "files", text)
		b.agent.trouble(t.Context(), "source", "files", text)
		if s := b.agent.Status(); s.Healthy || !slices.Contains(s.Problems, text) {
			t.Errorf("with a trouble host-b is healthy (%v), its problems are %q", s.Healthy, s.Problems)
		}
		a.until("host-b's trouble", func(s Status) bool { return !s.Healthy && slices.Contains(s.Problems, "host-b: "+text) })
		if n := b.told(event.Alarm, "source", text); n != 1 {
			t.Errorf("the same trouble was told of %d times", n)
		}

		b.agent.troubleOver(t.Context(), "source", "files", "the volume of files is back")
		b.until("healthy", sound)
		a.until("healthy", sound)
		if n := b.told(event.Info, "source", "the volume of files is back"); n != 1 {
			t.Errorf("the end of the trouble was told of %d times", n)
		}
	})
}

// A record stays small, however much is wrong.
func TestARecordCarriesABoundedPartOfTheTroubles(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a := c.host("host-a")
		a.init()
		a.start()
		for i := range 3 * maxTroubles {
			a.agent.trouble(t.Context(), "source", time.Duration(i).String(), strings.Repeat("é", 2*maxTroubleText)+time.Duration(i).String())
		}
		all := a.agent.recordTroubles()
		if len(all) != maxTroubles {
			t.Errorf("a record carries %d troubles", len(all))
		}
		for _, text := range all {
			if n := len([]rune(text)); n != maxTroubleText+1 {
				t.Errorf("a record carries a text of %d characters", n)
			}
		}
	})
}
