package agent

import (
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

func TestLostAnswersAreResolved(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		// Every host's first write of each object lands, and its answer is lost.
		lose := func(h *host) {
			for _, key := range []string{"cluster.json", "config/**", "instances/**", "head.json", "demote/**", "lease.json", "backups/**"} {
				h.store.Inject(storetest.Fault{Op: storetest.Conditional, Key: key, Do: storetest.LoseAnswer()})
			}
		}
		a, b := c.host("a"), c.host("b")
		a.write("state", "one")
		lose(a)
		a.init()
		a.start()
		a.untilLeading()
		lose(b)
		b.join(false)
		b.start()
		b.untilCached(a.backup())
		a.write("state", "two")
		lose(a)
		lose(b)
		b.promote(promotions.PromotionRequest{})
		b.untilLeading()
		b.has(map[string]string{"state": "two"})
		a.until("stepped down", func(s report.Status) bool { return s.Role == ha.RoleStandby && s.Demotion == nil })
		a.untilCached(b.backup())
	})
}

func TestAnInitWhoseEveryAnswerIsLostWritesOneHead(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a := c.host("a")
		a.store.Inject(storetest.Fault{Op: storetest.Conditional, Key: ha.HeadKey, Times: 3, Do: storetest.LoseAnswer()})
		a.init()
		b, _, err := control.Open(t.Context(), control.Config{Store: c.memory, Ring: c.ring})
		if err != nil {
			t.Fatal(err)
		}
		if h, err := b.Head(t.Context()); err != nil || h.Epoch != 1 || h.Rev != 1 {
			t.Errorf("%+v, %v", h, err)
		}
		a.start()
		a.untilLeading()
	})
}

func TestAnActiveThatStopsDuringAHandoverGoesOnAfterwards(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		gate, opened := storetest.Wait()
		a.store.Inject(storetest.Fault{Op: storetest.Put, Key: "backups/**", Do: gate})
		id, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{})
		if err != nil {
			t.Fatal(err)
		}
		<-opened.Arrived()
		a.halt()
		a.store.Heal()
		s, err := b.agent.promotions.WaitPromotion(t.Context(), id)
		if err != nil || s.State != promotions.PromotionRolledBack {
			t.Errorf("%+v, %v", s, err)
		}
		a.start()
		a.untilLeading()
		b.untilCached(a.backup())
	})
}

func TestACandidateThatStopsBeforeTheCommitRollsBack(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		b.write("mine", "untouched")
		gate, opened := storetest.Wait()
		b.store.Inject(storetest.Fault{Op: storetest.Conditional, Key: ha.HeadKey, Do: gate})
		if _, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{}); err != nil {
			t.Fatal(err)
		}
		<-opened.Arrived() // everything is swapped; the commit never reaches the bucket
		b.halt()
		b.store.Heal()
		a.until("taken back", func(s report.Status) bool { return s.Handover == nil && leading(s) })
		b.start()
		b.until("rolled back", func(s report.Status) bool { return s.Promotion == nil && s.Last != nil && !s.Last.Promoted })
		b.has(map[string]string{"mine": "untouched"})
		b.untilCached(a.backup())
	})
}

func TestACandidateThatStopsAfterTheCommitFinishes(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		a.write("state", "two")
		committed := make(chan struct{})
		b.store.Inject(storetest.Fault{Op: storetest.Conditional, Key: ha.HeadKey, Do: storetest.Then(func(error) {
			close(committed)
			<-b.agent.inbox.Stopped()
		})})
		if _, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{}); err != nil {
			t.Fatal(err)
		}
		<-committed
		b.halt()
		a.until("stepped down", func(s report.Status) bool { return s.Role == ha.RoleStandby && s.Demotion == nil })
		b.start()
		b.untilLeading()
		b.has(map[string]string{"state": "two"})
		b.until("finished", func(s report.Status) bool { return s.Promotion == nil })
		a.untilCached(b.backup())
	})
}

func TestATamperedRecordStopsNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d, _ := threeHosts(t, c)
		for _, name := range []string{"a", "b"} {
			if _, err := c.memory.Put(t.Context(), ha.InstanceKey(name), []byte("{}"), blobstore.Always); err != nil {
				t.Fatal(err)
			}
		}
		seen := func(want bool) func(report.Status) bool {
			return func(s report.Status) bool {
				return want == slices.ContainsFunc(s.Instances, func(i report.InstanceStatus) bool { return strings.Contains(i.State, "verified") })
			}
		}
		if err := d.agent.records.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !seen(true)(d.agent.Status()) {
			t.Error("a tampered record is not shown")
		}
		d.until("written anew", seen(false))
		b.untilCached(a.backup())
		a.halt()
		if _, err := c.memory.Put(t.Context(), ha.InstanceKey("a"), []byte("{}"), blobstore.Always); err != nil {
			t.Fatal(err)
		}
		a.start()
		a.untilLeading()
	})
}

func TestATamperedHeadCountsAsABucketThatDoesNotAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		a.halt()
		old, _, err := blobstore.ReadAll(t.Context(), c.memory, ha.HeadKey, control.MaxObject)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.memory.Put(t.Context(), ha.HeadKey, []byte(strings.Replace(string(old), "a", "b", 1)), blobstore.Always); err != nil {
			t.Fatal(err)
		}
		b.until("alarm", func(s report.Status) bool { return strings.Contains(s.Bucket, "cannot be verified") })
		if _, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{Mode: ha.ModeFailover}); err == nil {
			t.Error("promoted on a head that cannot be verified")
		}
		if _, err := c.memory.Put(t.Context(), ha.HeadKey, old, blobstore.Always); err != nil {
			t.Fatal(err)
		}
		b.until("good again", func(s report.Status) bool { return s.Bucket == "ok" })
	})
}

func TestStrictFencingStopsAnActiveWithoutItsBucket(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, _, _, _ := threeHosts(t, c)
		if err := a.agent.shared.SetConfig(t.Context(), map[string]string{"fencing": "strict"}); err != nil {
			t.Fatal(err)
		}
		a.store.Inject(storetest.Fault{Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrUnavailable)})
		s := a.until("stopped", func(s report.Status) bool { return s.App == "stopped" })
		if a.hooks.isRunning() || s.BucketFailing > 60 {
			t.Errorf("application running: %v, after %v s", a.hooks.isRunning(), s.BucketFailing)
		}
		a.halt()
		a.hooks.running = true // it starts at boot by itself
		a.start()
		a.until("stopped again", func(s report.Status) bool { return s.App == "stopped" && !a.hooks.isRunning() })
		a.store.Heal()
		a.untilLeading()
	})
}

// stagedSource tells where its stage is.
type stagedSource struct{ *directory.Source }

func (stagedSource) Staged() string { return "/somewhere" }

func TestTheProbeIsToldWhatToJudge(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		_, b, _, _ := threeHosts(t, c)
		b.halt()
		cfg := b.config()
		cfg.Hooks.Probe.Command = []string{"true"}
		cfg.Sources = []source.Source{stagedSource{cfg.Sources[0].(*directory.Source)}}
		agent, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		b.run(agent)
		b.until("ready", func(s report.Status) bool { return s.Head != nil })
		b.promote(promotions.PromotionRequest{})
		b.hooks.mu.Lock()
		defer b.hooks.mu.Unlock()
		if !slices.Contains(b.hooks.env["probe"], "UNDERSTUDY_STAGED_FILES=/somewhere") {
			t.Errorf("%v", b.hooks.env)
		}
	})
}
