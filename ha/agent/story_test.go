package agent

import (
	"testing"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// twoHosts are an active that leads, and a standby that has just been started.
func twoHosts(t *testing.T, c *cluster) (a, b *host) {
	t.Helper()
	a, b = c.host("a"), c.host("b")
	a.init()
	a.start()
	a.untilLeading()
	b.join(false)
	b.start()
	return a, b
}

// threeHosts is a cluster of an active and two standbys, all running, with one
// backup cached everywhere.
func threeHosts(t *testing.T, c *cluster) (a, b, d *host, first string) {
	t.Helper()
	a, b, d = c.host("a"), c.host("b"), c.host("d")
	a.write("state", "one")
	a.init()
	a.start()
	a.untilLeading()
	b.join(false)
	b.start()
	d.join(false)
	d.start()
	first = a.backup()
	b.untilCached(first)
	d.untilCached(first)
	return a, b, d, first
}

func TestBackupsReachEveryStandby(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d, _ := threeHosts(t, c)
		a.write("state", "two")
		id := a.backup()
		b.untilCached(id)
		d.untilCached(id)
		if !a.hooks.isRunning() || b.hooks.isRunning() {
			t.Error("the application must run on the active alone")
		}
		if c.net.bad != 0 {
			t.Errorf("%d notifications were refused", c.net.bad)
		}
	})
}

func TestSwitchoverLosesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d, _ := threeHosts(t, c)
		a.write("state", "two") // after the last backup
		a.write("more", "data")
		s := b.promoteBy("test", promotions.PromotionRequest{})
		b.untilLeading()
		b.has(map[string]string{"state": "two", "more": "data"})
		if s.Epoch != 2 {
			t.Errorf("epoch %d, want 2", s.Epoch)
		}
		a.until("standby", func(s report.Status) bool { return s.Role == ha.RoleStandby && s.Demotion == nil })
		if a.hooks.isRunning() || !b.hooks.isRunning() {
			t.Error("the application must run on the new active alone")
		}
		b.write("state", "three")
		id := b.backup()
		a.untilCached(id)
		d.untilCached(id)
		a.promote(promotions.PromotionRequest{})
		a.untilLeading()
		a.has(map[string]string{"state": "three", "more": "data"})
	})
}

func TestFailoverLosesWhatCameAfterAndTheOldActiveSalvagesIt(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d, first := threeHosts(t, c)
		a.halt()
		a.write("state", "never backed up")
		b.until("the active is silent", func(s report.Status) bool { return s.Silent() })
		if _, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{}); !ha.IsRefusal(err) {
			t.Fatalf("a switchover with a silent active: %v, want a refusal", err)
		}
		b.promote(promotions.PromotionRequest{Mode: ha.ModeFailover, Shown: first})
		b.untilLeading()
		b.has(map[string]string{"state": "one"})

		a.start()
		s := a.until("stepped down", func(s report.Status) bool { return s.Role == ha.RoleStandby && s.Demotion == nil })
		if s.Epoch != 2 || a.hooks.isRunning() {
			t.Errorf("the old active is in epoch %d, application running: %v", s.Epoch, a.hooks.isRunning())
		}
		all, err := d.agent.catalogue.Backups(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		var salvage string
		for _, info := range all {
			if info.Salvage {
				salvage = info.ID
			}
		}
		if salvage == "" {
			t.Fatalf("no salvage backup among %+v", all)
		}
		a.promote(promotions.PromotionRequest{Backup: salvage})
		a.untilLeading()
		a.has(map[string]string{"state": "never backed up"})
	})
}
