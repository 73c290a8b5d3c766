package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// TestTheClustersHistoryIsTheSameEverywhere: a new active, and a standby that
// has just joined, show all that the signed objects in the bucket tell.
func TestTheClustersHistoryIsTheSameEverywhere(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, first := threeHosts(t, c)
		if _, err := a.agent.requests.Backup(event.WithActor(t.Context(), "alice"), backup.Requested, "before the upgrade"); err != nil {
			t.Fatal(err)
		}
		a.write("state", "never replicated")
		b.promoteBy("bob", promotions.PromotionRequest{Mode: ha.ModeFailover, Backup: first, Reason: "the upgrade went wrong"})
		b.untilLeading()
		a.until("stepped down", func(s report.Status) bool { return s.Role == ha.RoleStandby && s.Demotion == nil })
		b.until("its first backup", func(s report.Status) bool { return s.LastBackup.Epoch == 2 })
		e := c.host("e")
		e.join(false)
		e.start()
		e.until("in sync", func(s report.Status) bool { return s.State == report.StateInSync })

		page, err := b.agent.catalogue.ClusterHistory(t.Context(), "", 0)
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, ev := range page.Events {
			said = append(said, fmt.Sprintf("%d %s %s by %q because %q", ev.Epoch, ev.Kind, ev.Instance, ev.By, ev.Reason))
		}
		for _, want := range []string{
			`0 cluster  by "" because ""`,
			`1 backup a by "" because ""`,
			`1 backup a by "alice" because "before the upgrade"`,
			`2 promotion b by "bob" because "the upgrade went wrong"`,
			`2 demotion a by "" because ""`,
			`2 salvage a by "" because ""`,
			`2 backup b by "" because ""`,
		} {
			if !slices.Contains(said, want) {
				t.Errorf("%s is missing in\n%s", want, strings.Join(said, "\n"))
			}
		}
		if said[len(said)-1] != `0 cluster  by "" because ""` || page.Next != "" {
			t.Errorf("it ends with %s, next %q", said[len(said)-1], page.Next)
		}
		direct, err := e.agent.control.AuditLog().Page(t.Context(), "", 0)
		if err != nil || !slices.Equal(direct.Events, page.Events) {
			t.Errorf("without an agent: %v\n%+v\nwant\n%+v", err, direct.Events, page.Events)
		}
		for _, size := range []int{1, 2, 3} {
			var all []control.ClusterEvent
			for next := ""; ; {
				p, err := e.agent.catalogue.ClusterHistory(t.Context(), next, size)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, p.Events...)
				if next = p.Next; next == "" {
					break
				}
			}
			if !slices.Equal(all, page.Events) {
				t.Errorf("in pages of %d: %+v", size, all)
			}
		}
		if _, err := e.agent.catalogue.ClusterHistory(t.Context(), "elsewhere", 0); !errors.Is(err, ha.ErrInvalid) {
			t.Errorf("a place that is none: %v", err)
		}
	})
}

// TestAForgedMarkerIsShownAsWhatItIs: whoever can write to the bucket and has
// no key cannot add to the history, and cannot take from it unseen.
func TestAForgedMarkerIsShownAsWhatItIs(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		if _, err := c.memory.Put(t.Context(), ha.MarkerKey(7), []byte(`{"epoch":7,"active":{"name":"mallory"}}`), blobstore.IfAbsent()); err != nil {
			t.Fatal(err)
		}
		for _, h := range []*host{a, b} {
			page, err := h.agent.catalogue.ClusterHistory(t.Context(), "", 1)
			if err != nil || len(page.Events) != 1 {
				t.Fatalf("%+v, %v", page, err)
			}
			if e := page.Events[0]; e.Kind != control.UnverifiedKind || e.Epoch != 7 || e.Key != ha.MarkerKey(7) || e.Instance != "" || !strings.Contains(e.Text, "cannot be verified") {
				t.Errorf("%+v", e)
			}
		}
	})
}
