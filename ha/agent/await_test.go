package agent

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// child is an application that ends with its agent.
type child struct{ runs atomic.Bool }

func (c *child) Start(context.Context, application.Run) error { c.runs.Store(true); return nil }
func (c *child) Stop(context.Context, time.Duration) error    { c.runs.Store(false); return nil }
func (c *child) Bind(application.Bound)                       {}
func (c *child) Down() error                                  { return nil }

// asChild has the agent run its application itself.
func (h *host) asChild() *child {
	app := new(child)
	h.change = func(cfg *Config) { cfg.Application, cfg.Hooks = app, application.Hooks{} }
	return app
}

// TestAnAgentThatEndsWithItsApplicationIsNotWaitedFor: it says so in the head, in
// either fencing mode, and starts nothing before it has taken that back.
func TestAnAgentThatEndsWithItsApplicationIsNotWaitedFor(t *testing.T) {
	for _, mode := range []string{"available", "strict"} {
		t.Run(mode, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				apps := map[string]*child{"a": nil, "b": nil}
				for name := range apps {
					apps[name] = c.host(name).asChild()
				}
				a, b := c.hosts["a"], c.hosts["b"]
				a.init()
				a.start()
				a.untilLeading()
				if err := a.agent.shared.SetConfig(t.Context(), map[string]string{"fencing": mode}); err != nil {
					t.Fatal(err)
				}
				b.join(false)
				b.start()
				b.untilCached(a.backup())
				b.until("a would be waited for", func(s report.Status) bool { return s.HeadAlive && s.FailoverWait != nil })
				a.halt()
				if apps["a"].runs.Load() {
					t.Error("the application outlives its agent")
				}
				b.until("a is known to have ended", func(s report.Status) bool { return s.Head.Stopped && s.FailoverWait == nil })
				begun := time.Now()
				b.promote(promotions.PromotionRequest{Mode: ha.ModeFailover})
				b.until("active", func(s report.Status) bool { return s.Leading && apps["b"].runs.Load() })
				if took := time.Since(begun); took > 5*time.Second {
					t.Errorf("it waited %v", took)
				}
			})
		})
	}
}

// TestAPreflightSaysHowLongAFailoverWaits: and that an operator's word ends it,
// or why it does not.
func TestAPreflightSaysHowLongAFailoverWaits(t *testing.T) {
	fencings(t, func(t *testing.T, mode string, _ *cluster, _, b, _ *host) {
		b.until("a is seen alive", func(s report.Status) bool { return s.HeadAlive })
		look := func(req promotions.PromotionRequest) promotions.Preflight {
			p, err := b.agent.promotions.Preflight(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		if p := look(promotions.PromotionRequest{}); p.Wait != nil {
			t.Errorf("a switchover would wait: %+v", p.Wait)
		}
		p := look(promotions.PromotionRequest{Mode: ha.ModeFailover})
		if p.Wait == nil || p.Wait.Seconds < 30 || p.Wait.Seconds > 70 || p.Wait.Word != (mode == "available") || !strings.Contains(p.Wait.String(), "at most") {
			t.Fatalf("a failover would wait: %+v", p.Wait)
		}
		word := promotions.PromotionRequest{Mode: ha.ModeFailover, HostIsOff: true}
		if p := look(word); p.OK != (mode == "available") || (p.Wait == nil) != (mode == "available") {
			t.Fatalf("with an operator's word: %+v", p)
		}
		if mode == "strict" {
			if _, err := b.agent.promotions.Promote(t.Context(), word); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "on nobody's word") {
				t.Errorf("promoted on an operator's word: %v", err)
			}
		}
	})
}

// TestAnOperatorsWordEndsAFailoversWait: and is in the cluster's history.
func TestAnOperatorsWordEndsAFailoversWait(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		b.until("a is seen alive", func(s report.Status) bool { return s.HeadAlive })
		a.leave() // as if its host were off
		begun := time.Now()
		b.promoteBy("alice", promotions.PromotionRequest{Mode: ha.ModeFailover, HostIsOff: true})
		b.untilLeading()
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("it waited %v", took)
		}
		history, err := b.agent.catalogue.ClusterHistory(t.Context(), "", 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range history.Events {
			if e.Kind == control.PromotionKind && e.By == "alice" && strings.Contains(e.Text, "on the word that the host of the old active is off") {
				return
			}
		}
		t.Errorf("the history does not say so: %+v", history.Events)
	})
}

// TestAPromotionThatWaitsForAHandoverSaysForWhat: the old active's hook fails.
func TestAPromotionThatWaitsForAHandoverSaysForWhat(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		a.hooks.setFail("demote", errors.New("the moon is not mounted"))
		id, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range []*host{a, b} {
			s := h.until("told", func(s report.Status) bool {
				return s.Waiting != nil && strings.Contains(s.Waiting.For, "the moon is not mounted")
			})
			if s.Waiting.Seconds < 0 || s.Waiting.Seconds > 60 {
				t.Errorf("until when: %+v", s.Waiting)
			}
		}
		if p, ok := b.agent.promotions.Promotion(id); !ok || p.Waiting == nil || !strings.Contains(p.Waiting.String(), "a, which waits for its application to stop") {
			t.Errorf("the promotion: %+v", p)
		}
		s, err := b.agent.promotions.WaitPromotion(t.Context(), id)
		if err != nil || s.State != promotions.PromotionRolledBack || !strings.Contains(s.Error, "the moon is not mounted") {
			t.Errorf("%+v, %v", s, err)
		}
		a.hooks.setFail("demote", nil)
		a.untilLeading()
		b.promote(promotions.PromotionRequest{})
	})
}

// TestEverySalvageOfAnEpochIsListed: of a host and of its copy, and one that was
// told before each had a record of its own.
func TestEverySalvageOfAnEpochIsListed(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d, _ := threeHosts(t, c)
		salvage := func(state string) {
			a.halt()
			a.write("state", state)
			b.until("a is silent", func(s report.Status) bool { return s.Silent() })
			b.promote(promotions.PromotionRequest{Mode: ha.ModeFailover})
			b.untilLeading()
			a.start()
			a.until("stepped down", func(s report.Status) bool { return s.Role == ha.RoleStandby && s.Demotion == nil })
		}
		salvage("never backed up")
		a.promote(promotions.PromotionRequest{})
		a.untilLeading()
		salvage("never backed up either")

		listed := func() map[string]control.BackupInfo {
			all, err := d.agent.catalogue.Backups(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			found := make(map[string]control.BackupInfo)
			for _, info := range all {
				if info.Salvage {
					found[info.ID] = info
				}
			}
			return found
		}
		all := listed()
		if len(all) != 2 {
			t.Fatalf("listed are %v", all)
		}
		// Both as if salvaged in one epoch, by a host and its copy.
		var keys []string
		for _, key := range c.memory.Keys() {
			if strings.HasSuffix(key, ".salvage.json") {
				keys = append(keys, key)
				if err := c.memory.Delete(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			}
		}
		i := 0
		for _, info := range all {
			by := ha.Peer{Name: "a", Incarnation: info.ID[len(info.ID)-8:]}
			key := ha.SalvageKey(2, by, &info.Ref)
			if i++; i == 2 {
				key = ha.OldSalvageKey(2, "a")
			}
			rec := &ha.SalvageRecord{Format: ha.Format, Cluster: b.agent.control.Cluster(), Epoch: 2, Instance: by, Backup: &info.Ref}
			if _, err := b.agent.control.Write(t.Context(), ha.KindSalvage, key, rec, blobstore.IfAbsent()); err != nil {
				t.Fatal(err)
			}
		}
		if now := listed(); len(now) != 2 {
			t.Fatalf("listed are %v of %v (%v)", now, all, keys)
		}
		for id := range all {
			if _, _, err := d.agent.catalogue.BackupInfo(t.Context(), id); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
	})
}
