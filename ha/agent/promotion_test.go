package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

func TestHistoryShowsWhatIsSupersededAndWhatIsCached(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d, first := threeHosts(t, c)
		a.write("state", "two")
		second := a.backup()
		b.untilCached(second)
		p, err := b.agent.promotions.Preflight(t.Context(), promotions.PromotionRequest{Backup: first})
		if err != nil || !p.OK || !slices.Equal(p.Loss.Newer, []string{second}) {
			t.Fatalf("preflight: %+v, %v", p, err)
		}
		b.promote(promotions.PromotionRequest{Backup: first})
		b.untilLeading()
		b.has(map[string]string{"state": "one"})
		s := d.until("the new epoch's first backup", func(s report.Status) bool { return len(s.Cached) > 0 && s.Cached[0].Epoch == 2 })
		newest := s.Cached[0].ID
		d.until("final backup superseded", func(report.Status) bool {
			all, err := d.agent.catalogue.Backups(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, i := range all {
				got = append(got, fmt.Sprintf("%d %v %v %v", i.Epoch, i.Newest, i.Superseded, i.Trigger))
				if (i.ID == second) != (i.Superseded && i.Trigger == backup.Requested) || i.ID == newest != i.Newest {
					t.Errorf("%+v", i)
				}
			}
			want := []string{"2 true false first", "1 false true switchover", "1 false true request", "1 false false request", "1 false false first"}
			if !slices.Equal(got, want) {
				t.Errorf("history %q, want %q", got, want)
			}
			return true
		})
		one, m, err := d.agent.catalogue.BackupInfo(t.Context(), second)
		if err != nil || !one.Superseded || !one.Cached || m.ID != second || len(one.Sources) != 1 {
			t.Errorf("%+v, %v", one, err)
		}
		if _, _, err := d.agent.catalogue.BackupInfo(t.Context(), "20000101T000000Z-nonsense"); !errors.Is(err, control.ErrNoBackup) {
			t.Errorf("an unknown backup: %v", err)
		}
		offline, _, err := control.Open(t.Context(), control.Config{Store: c.memory, Ring: c.ring})
		if err != nil {
			t.Fatal(err)
		}
		if all, err := offline.Chain().List(t.Context(), "", 2); err != nil || len(all.Backups) != 2 || all.Backups[0].ID != newest || all.Next == "" {
			t.Errorf("without an agent: %+v, %v", all, err)
		}
		if found, _, err := offline.Chain().Find(t.Context(), ""); err != nil || found.ID != newest {
			t.Errorf("without an agent: %+v, %v", found, err)
		}
		d.store.Inject(storetest.Fault{Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrUnavailable)})
		if all, err := d.agent.catalogue.Backups(t.Context(), 0); err != nil || len(all) == 0 || !all[0].Cached {
			t.Errorf("without the bucket: %+v, %v", all, err)
		}
	})
}

func TestPreflightSaysWhatWouldFail(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		a.halt()
		versions := map[string]string{"a": "1", "b": "2"}
		start := func(h *host) {
			cfg := h.config()
			cfg.AppVersion = func(context.Context) (string, error) { return versions[h.name], nil }
			cfg.Hooks.Probe.Command = []string{"/nonexistent/probe"}
			agent, err := Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			h.run(agent)
		}
		start(a)
		b.halt()
		start(b)
		a.untilLeading()
		b.untilCached(a.backup())
		p, err := b.agent.promotions.Preflight(t.Context(), promotions.PromotionRequest{})
		if err != nil {
			t.Fatal(err)
		}
		bad := make(map[string]string)
		for _, check := range p.Checks {
			if !check.OK {
				bad[check.Name] = check.Detail
			}
		}
		if p.OK || len(bad) != 2 || !strings.Contains(bad["version"], "--allow-version-mismatch") || !strings.Contains(bad["hook probe"], "probe") {
			t.Errorf("%+v", p)
		}
		if !strings.HasPrefix(p.Loss.Summary, "nothing") {
			t.Errorf("loss %q", p.Loss.Summary)
		}
		if _, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{}); !ha.IsRefusal(err) {
			t.Errorf("promote all the same: %v", err)
		}
		if _, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{Backup: "nonsense"}); !errors.Is(err, control.ErrNoBackup) {
			t.Errorf("an unknown backup: %v", err)
		}
		if _, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{Mode: "hard"}); !errors.Is(err, ha.ErrInvalid) {
			t.Errorf("an unknown mode: %v", err)
		}
	})
}

func TestADryRunChangesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		_, b, _, _ := threeHosts(t, c)
		if id, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{DryRun: true}); err != nil || id != "" {
			t.Errorf("%q, %v", id, err)
		}
		if s := b.agent.Status(); s.Promotion != nil || slices.Contains(c.memory.Keys(), ha.LeaseKey) {
			t.Error("a promotion has begun")
		}
	})
}

func TestOfTwoPromotionsAtOnceOneWins(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d, _ := threeHosts(t, c)
		var won, lost sync.Map
		var both sync.WaitGroup
		for _, h := range []*host{b, d} {
			both.Go(func() {
				id, err := h.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{})
				if err != nil {
					lost.Store(h.name, err.Error())
					return
				}
				switch s, err := h.agent.promotions.WaitPromotion(t.Context(), id); {
				case err != nil:
					t.Error(err)
				case s.State == promotions.PromotionDone:
					won.Store(h.name, "")
				default:
					lost.Store(h.name, s.Error)
				}
			})
		}
		both.Wait()
		count := func(m *sync.Map) (n int) { m.Range(func(any, any) bool { n++; return true }); return n }
		if count(&won) != 1 || count(&lost) != 1 {
			t.Fatalf("%d won, %d lost", count(&won), count(&lost))
		}
		lost.Range(func(name, why any) bool {
			if text := why.(string); !strings.Contains(text, "b") && !strings.Contains(text, "d") {
				t.Errorf("%s is not told who won: %s", name, why)
			}
			return true
		})
		a.until("stepped down", func(s report.Status) bool { return s.Role == ha.RoleStandby && s.Demotion == nil })
	})
}

func TestAPromotionCanBeCancelledBeforeItCommits(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		gate, opened := storetest.Wait()
		a.store.Inject(storetest.Fault{Op: storetest.Put, Key: "backups/**", Do: gate})
		id, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{})
		if err != nil {
			t.Fatal(err)
		}
		<-opened.Arrived()
		if s, _ := b.agent.promotions.Promotion(id); s.State != promotions.PromotionRunning || s.Phase != ha.PhaseHandover {
			t.Errorf("%+v", s)
		}
		if err := b.agent.promotions.CancelPromotion(t.Context()); err != nil {
			t.Fatal(err)
		}
		opened.Open()
		if s, err := b.agent.promotions.WaitPromotion(t.Context(), id); err != nil || s.State != promotions.PromotionRolledBack {
			t.Errorf("%+v, %v", s, err)
		}
		a.until("taken back", func(s report.Status) bool { return s.Handover == nil && leading(s) })
		if _, err := b.agent.promotions.WaitPromotion(t.Context(), "unknown"); !errors.Is(err, promotions.ErrNoPromotion) {
			t.Errorf("an unknown promotion: %v", err)
		}
	})
}

func TestAPromotionWithoutTheBucketIsTheBucketsTrouble(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		_, b, _, _ := threeHosts(t, c)
		b.store.Inject(storetest.Fault{Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrUnavailable)})
		if _, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{}); !errors.Is(err, control.ErrBucket) || ha.IsRefusal(err) {
			t.Errorf("promote: %v", err)
		}
		b.store.Heal()
	})
}
