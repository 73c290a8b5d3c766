package agent

import (
	"errors"
	"fmt"
	"testing"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/promotions"
)

// TestHistoryComesInPages: following the last one's id shows every backup
// once, also those that a promotion has cut off.
func TestHistoryComesInPages(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b := c.host("a"), c.host("b")
		a.init()
		b.join(false)
		a.start()
		b.start()
		a.untilLeading()
		for i := range 5 {
			a.write("state", fmt.Sprint(i))
			b.untilCached(a.backup())
		}
		listed, err := b.agent.catalogue.Backups(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		b.promote(promotions.PromotionRequest{Backup: listed[3].ID, Mode: ha.ModeSwitchover})
		b.untilLeading()
		all, err := b.agent.catalogue.Backups(t.Context(), 0)
		if err != nil || len(all) < 6 {
			t.Fatalf("%d backups, %v", len(all), err)
		}
		after := ""
		for i := range all {
			page, err := b.agent.catalogue.BackupsAfter(t.Context(), after, 1)
			if err != nil || len(page.Backups) != 1 || page.Backups[0].ID != all[i].ID || page.Backups[0].Superseded != all[i].Superseded || (page.Next == "") != (i == len(all)-1) {
				t.Fatalf("page %d: %+v, %v; want %s", i, page, err, all[i].ID)
			}
			after = page.Backups[0].ID
		}
		if rest, err := b.agent.catalogue.BackupsAfter(t.Context(), after, 1); err != nil || len(rest.Backups) > 0 {
			t.Errorf("after the last: %+v, %v", rest, err)
		}
		if _, err := b.agent.catalogue.BackupsAfter(t.Context(), "nonsense", 1); !errors.Is(err, ha.ErrInvalid) {
			t.Errorf("after nonsense: %v", err)
		}
		for deep := range map[bool]bool{false: true, true: true} {
			if damage, err := b.agent.catalogue.Verify(t.Context(), "", deep); err != nil || damage != "" {
				t.Errorf("verify, deep %v: %q, %v", deep, damage, err)
			}
		}
		for attrs, err := range c.memory.List(t.Context(), "packs/", "") {
			if err != nil {
				t.Fatal(err)
			}
			if err := c.memory.Delete(t.Context(), attrs.Key); err != nil {
				t.Fatal(err)
			}
		}
		if damage, err := b.agent.catalogue.Verify(t.Context(), "", false); err != nil || damage == "" {
			t.Errorf("verify without packs: %q, %v", damage, err)
		}
	})
}
