package agent

import (
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/requests"
	"github.com/understudy-ha/understudy/ha/upkeep"
)

func mentions(text string) func(report.Status) bool {
	return func(s report.Status) bool {
		return slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, text) })
	}
}

// An instance that cannot load the shared configuration says so, on every
// instance, and one that knows it writes it again: without it the other could take
// over and make no backup.
func TestTheSharedConfigurationIsPutBack(t *testing.T) {
	for name, body := range map[string][]byte{"missing": nil, "damaged": []byte("garbage")} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				a, b := c.host("a"), c.host("b")
				a.init()
				a.start()
				a.untilLeading()
				a.write("state", "one")
				a.backup()
				for _, key := range c.keys("config/") {
					c.replace(key, body)
				}
				b.join(false)
				b.start()
				for _, h := range []*host{b, a} {
					h.until("it is told", mentions("the shared configuration cannot be loaded"))
				}
				c.pass(upkeep.PacksEvery + upkeep.PacksSpread)
				for _, h := range []*host{a, b} {
					h.until("it is over", func(s report.Status) bool { return !mentions("configuration")(s) })
				}
				b.promote(promotions.PromotionRequest{})
				b.untilLeading()
				b.backup()
			})
		})
	}
}

// An active whose newest backup's manifest goes, or rots, in the bucket notices
// that, though it knows the manifest, and makes another backup.
func TestTheNewestManifestIsLookedAfter(t *testing.T) {
	for name, body := range map[string][]byte{"missing": nil, "damaged": []byte("garbage")} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				a := c.host("a")
				a.init()
				a.start()
				a.untilLeading()
				a.write("state", "one")
				old := a.backup()
				if err := a.agent.requests.Pause(event.WithActor(t.Context(), "test"), requests.PauseRequest{}); err != nil {
					t.Fatal(err)
				}
				c.replace(a.agent.Status().LastBackup.Key, body)
				c.pass(upkeep.PacksEvery + upkeep.PacksSpread)
				s := a.until("there is another", func(s report.Status) bool { return s.LastBackup.ID != old && !mentions("manifest")(s) })
				if err := c.whole(s.LastBackup.ID); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
