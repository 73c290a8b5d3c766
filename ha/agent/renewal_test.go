package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/upkeep"
)

// With the active away for twice the retention, a standby keeps the newest
// backup alive under the bucket's rules, and can be promoted to it.
func TestTheNewestBackupOutlivesALongOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		clock := c.movable()
		if err := c.memory.SetRules(t.Context(), retention.Policy{}.Rules()); err != nil {
			t.Fatal(err)
		}
		a, b, d, newest := threeHosts(t, c)
		a.halt()
		delete(c.hosts, "a")
		guards := []*upkeep.Newest{newGuard(b), newGuard(d)}
		renewed := 0
		for days := 0; days < 28; days += 2 {
			clock.jump(2 * day)
			c.memory.Expire(c.memory.Now())
			c.pass(3 * time.Minute) // each host writes its record, and sees the store's time
			b.store.Calls()
			d.store.Calls()
			for _, g := range guards {
				g.Turn(t.Context())
			}
			byB, byD := len(b.puts()), len(d.puts())
			if byB > 0 && byD > 0 {
				t.Errorf("day %d: both standbys renewed it", days)
			}
			if byB+byD > 0 {
				renewed++
				if days < 6 {
					t.Errorf("it was renewed after %d days already", days+2)
				}
			}
			c.restorable(newest)
		}
		if renewed < 3 || renewed > 6 {
			t.Errorf("renewed %d times in 28 days", renewed)
		}
		for _, h := range []*host{b, d} {
			if !strings.Contains(h.agent.Status().Retention.NewestAtRisk, "active a") {
				t.Errorf("%s: status %+v", h.name, h.agent.Status().Retention)
			}
		}
		b.promoteBy("test", promotions.PromotionRequest{Mode: ha.ModeFailover})
		b.untilLeading()
		b.has(map[string]string{"state": "one"})
	})
}

// puts gives the keys that a host has written without a condition since it was
// asked last.
func (h *host) puts() (keys []string) {
	for _, call := range h.store.Calls() {
		if call.Op == storetest.Put {
			keys = append(keys, call.Key)
		}
	}
	return keys
}

func newGuard(h *host) *upkeep.Newest {
	return upkeep.NewNewest(upkeepHost(h.agent), h.agent.rules, h.agent.locks, newStandbys(h.agent))
}

// A renewal that is denied is told of once; one that is interrupted does not
// begin anew, and the manifest comes last.
func TestARenewalGoesOnWhereItStopped(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		clock := c.movable()
		a, b, d, _ := threeHosts(t, c)
		d.halt()
		a.halt()
		delete(c.hosts, "a")
		delete(c.hosts, "d")
		c.pass(2 * time.Minute) // b's own next look comes in an hour
		clock.jump(13 * day)
		c.pass(3 * time.Minute)
		g := newGuard(b)
		b.store.Inject(storetest.Fault{Op: storetest.Put, Key: "packs/**", After: 1, Times: 2, Do: storetest.Fail(blobstore.ErrDenied)})
		for range 2 {
			g.Turn(t.Context())
		}
		if warned := b.events(event.Warn); len(warned) != 1 || !strings.Contains(warned[0], "denied") {
			t.Errorf("warnings %q, want one", warned)
		}
		if n := len(b.events(event.Alarm)); n == 0 {
			t.Error("no alarm was raised")
		}
		b.store.Calls()
		g.Turn(t.Context())
		puts, packs := b.puts(), len(c.keys("packs/"))
		if len(puts) != packs || !strings.HasPrefix(puts[len(puts)-1], "backups/") {
			t.Errorf("put %q: one of %d packs was renewed before, and the manifest comes last", puts, packs)
		}
		g.Turn(t.Context())
		if puts := b.puts(); len(puts) != 0 {
			t.Errorf("%q were put again at once", puts)
		}
	})
}
