package agent

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// outage is how long the bucket is away.
const outage = 10 * time.Minute

// leave takes the bucket away from a host, until its store is healed.
func (h *host) leave() {
	h.store.Inject(storetest.Fault{Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrUnavailable)})
}

// sitOut waits until a host has been without its bucket for the whole outage,
// and has said so once.
func (h *host) sitOut() {
	h.t.Helper()
	s := h.until("without the bucket for the whole outage", func(s report.Status) bool { return s.BucketFailing >= outage.Seconds() })
	if s.Healthy || len(s.Problems) == 0 {
		h.t.Errorf("%s counts as healthy without its bucket: %+v", h.name, s)
	}
	alarms := 0
	for _, e := range h.agent.Events().Recent(0, 0) {
		if e.Kind == "bucket" && e.Level == event.Alarm {
			alarms++
		}
	}
	if alarms != 1 {
		h.dump()
		h.t.Errorf("%s raised %d alarms about the bucket, want one", h.name, alarms)
	}
}

// fencings runs a test in both fencing modes.
func fencings(t *testing.T, test func(t *testing.T, mode string, c *cluster, a, b, d *host)) {
	for _, mode := range []string{"available", "strict"} {
		t.Run(mode, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				a, b, d, _ := threeHosts(t, c)
				if err := a.agent.shared.SetConfig(t.Context(), map[string]string{"fencing": mode}); err != nil {
					t.Fatal(err)
				}
				for _, h := range []*host{b, d} {
					h.until("knows the fencing mode", func(s report.Status) bool { return s.Head != nil && string(s.Head.Fencing.Mode) == mode })
				}
				test(t, mode, c, a, b, d)
			})
		})
	}
}

// asBefore checks that a leads in epoch 1, and that everybody follows it.
func asBefore(t *testing.T, a *host, standbys ...*host) {
	t.Helper()
	a.untilLeading()
	if s := a.agent.Status(); s.Epoch != 1 {
		t.Errorf("epoch %d, want 1", s.Epoch)
	}
	a.write("state", "after the outage")
	id := a.backup()
	for _, h := range standbys {
		h.untilCached(id)
		s := h.until("settled", func(s report.Status) bool { return s.Promotion == nil && s.Demotion == nil && s.Bucket == "ok" })
		if s.Role != ha.RoleStandby || h.hooks.isRunning() {
			t.Errorf("%s is %s, its application running: %v", h.name, s.Role, h.hooks.isRunning())
		}
	}
}

func TestAnActiveWithoutItsBucketForTenMinutes(t *testing.T) {
	fencings(t, func(t *testing.T, mode string, _ *cluster, a, b, d *host) {
		a.leave()
		since := time.Now()
		if mode == "strict" {
			a.until("stopped", func(s report.Status) bool { return s.App == "stopped" })
			f := ha.DefaultConfig().Fencing
			if took, bound := time.Since(since), time.Duration(f.TTL-f.Margin); took > bound || a.hooks.isRunning() {
				t.Errorf("the application stopped after %v, want %v at most (running: %v)", took, bound, a.hooks.isRunning())
			}
		}
		a.sitOut()
		if running := a.hooks.isRunning(); running != (mode == "available") {
			t.Errorf("after %v the application runs: %v", outage, running)
		}
		if s := b.agent.Status(); s.HeadAlive || s.Role != ha.RoleStandby {
			t.Errorf("to %s the active seems alive: %v; its own role is %s", b.name, s.HeadAlive, s.Role)
		}
		a.store.Heal()
		asBefore(t, a, b, d)
	})
}

func TestAStandbyWithoutItsBucketForTenMinutes(t *testing.T) {
	fencings(t, func(t *testing.T, _ string, _ *cluster, a, b, d *host) {
		b.leave()
		a.write("state", "during the outage")
		d.untilCached(a.backup())
		b.sitOut()
		if s := b.agent.Status(); s.Role != ha.RoleStandby || len(s.Cached) == 0 {
			t.Errorf("role %s, cached %v", s.Role, s.Cached)
		}
		if _, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{Mode: ha.ModeFailover}); err == nil {
			t.Error("promoted without a bucket")
		}
		b.store.Heal()
		asBefore(t, a, b, d)
	})
}

func TestEverybodyWithoutTheBucketForTenMinutes(t *testing.T) {
	fencings(t, func(t *testing.T, mode string, _ *cluster, a, b, d *host) {
		for _, h := range []*host{a, b, d} {
			h.leave()
		}
		for _, h := range []*host{a, b, d} {
			h.sitOut()
			if h.hooks.isRunning() != (h == a && mode == "available") {
				t.Errorf("the application of %s runs: %v", h.name, h.hooks.isRunning())
			}
		}
		for _, h := range []*host{a, b, d} {
			h.store.Heal()
		}
		asBefore(t, a, b, d)
	})
}

// TestACandidateWithoutItsBucketForTenMinutes takes the bucket away when the
// candidate sends its commit, which does not arrive, or arrives unseen.
func TestACandidateWithoutItsBucketForTenMinutes(t *testing.T) {
	away := func(b *host, arrives bool) (begun chan struct{}) {
		begun = make(chan struct{})
		lose := storetest.Fail(blobstore.ErrUnknownOutcome)
		if arrives {
			lose = storetest.LoseAnswer()
		}
		b.store.Inject(storetest.Fault{
			Op: storetest.Conditional, Key: ha.HeadKey,
			Do: func(ctx context.Context, c storetest.Call, do func(context.Context) error) error {
				b.leave()
				close(begun)
				return lose(ctx, c, do)
			},
		})
		return begun
	}
	t.Run("the commit does not arrive", func(t *testing.T) {
		fencings(t, func(t *testing.T, _ string, _ *cluster, a, b, d *host) {
			b.write("mine", "as before")
			a.write("state", "two")
			begun := away(b, false)
			id, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{})
			if err != nil {
				t.Fatal(err)
			}
			<-begun
			a.until("taken back", func(s report.Status) bool { return s.Handover == nil && leading(s) })
			b.sitOut()
			if b.hooks.isRunning() {
				t.Error("the candidate's application runs")
			}
			b.store.Heal()
			if s, err := b.agent.promotions.WaitPromotion(t.Context(), id); err != nil || s.State != promotions.PromotionRolledBack {
				t.Errorf("%+v, %v; want it rolled back", s, err)
			}
			b.has(map[string]string{"mine": "as before"})
			asBefore(t, a, b, d)
		})
	})
	t.Run("the commit arrives", func(t *testing.T) {
		fencings(t, func(t *testing.T, _ string, _ *cluster, a, b, d *host) {
			a.write("state", "two")
			begun := away(b, true)
			id, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{})
			if err != nil {
				t.Fatal(err)
			}
			<-begun
			b.sitOut()
			if a.hooks.isRunning() || b.hooks.isRunning() {
				t.Errorf("an application runs while nobody knows who is active: %v, %v", a.hooks.isRunning(), b.hooks.isRunning())
			}
			b.store.Heal()
			if s, err := b.agent.promotions.WaitPromotion(t.Context(), id); err != nil || s.State != promotions.PromotionDone || s.Epoch != 2 {
				t.Errorf("%+v, %v; want it done, in epoch 2", s, err)
			}
			b.untilLeading()
			b.has(map[string]string{"state": "two"})
			a.until("stepped down", func(s report.Status) bool { return s.Role == ha.RoleStandby && s.Demotion == nil })
			newest := b.backup()
			a.untilCached(newest)
			d.untilCached(newest)
		})
	})
}

func TestADeniedBucketIsSaidToDeny(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		for _, h := range []*host{a, b} {
			h.store.Inject(storetest.Fault{Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrDenied)})
			h.until("access is denied", func(s report.Status) bool { return strings.Contains(s.Bucket, "access denied") && !s.Healthy })
			h.store.Heal()
			h.until("it may be used again", func(s report.Status) bool { return s.Bucket == "ok" })
			h.store.Inject(storetest.Fault{Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrUnavailable)})
			h.until("it does not answer", func(s report.Status) bool { return s.Bucket == "it does not answer" })
			h.store.Heal()
		}
	})
}

// TestAnAgentThatStartsWithoutItsBucketFencesFirst starts an agent whose bucket
// never answers: nothing that needs no bucket waits for it.
func TestAnAgentThatStartsWithoutItsBucketFencesFirst(t *testing.T) {
	f := ha.DefaultConfig().Fencing
	bound := time.Duration(f.TTL - f.Margin)
	silence := func(ctx context.Context, _ storetest.Call, _ func(context.Context) error) error {
		<-ctx.Done()
		return ctx.Err()
	}
	for name, down := range map[string]time.Duration{"its bound has passed": 2 * bound, "its bound has not passed": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				a := c.host("a")
				a.init()
				a.start()
				a.untilLeading()
				if err := a.agent.shared.SetConfig(t.Context(), map[string]string{"fencing": "strict"}); err != nil {
					t.Fatal(err)
				}
				a.halt() // which leaves the application as it is
				ended := time.Now()
				if err := wait(t.Context(), down); err != nil {
					t.Fatal(err)
				}
				a.store.Inject(storetest.Fault{Times: storetest.Forever, Do: silence})
				started := time.Now()
				a.start()
				if s := a.agent.Status(); time.Since(started) > 0 || s.Role != ha.RoleActive || s.Bucket != ha.NotRead {
					t.Errorf("after %v: role %q, bucket %q", time.Since(started), s.Role, s.Bucket)
				}
				if down < bound && !a.hooks.isRunning() {
					t.Error("the application is stopped at once, before its bound")
				}
				a.until("stopped", func(s report.Status) bool { return s.App == "stopped" })
				if took := time.Since(started); down > bound && took > time.Second {
					t.Errorf("the application was stopped %v after the start", took)
				}
				if took := time.Since(ended); down < bound && took > bound {
					t.Errorf("the application was stopped %v after the last renewal, want %v at most", took, bound)
				}
				a.until("the silence is told", func(s report.Status) bool { return !s.Healthy && s.Bucket == "it does not answer" })
				a.store.Heal()
				a.untilLeading()
				a.halt()
				if j, err := datadir.ReadJournal(a.data); err != nil || len(j.Incarnations) != 1 {
					t.Errorf("once the bucket has this process's incarnation the journal has %v, %v", j, err)
				}
			})
		})
	}
}
