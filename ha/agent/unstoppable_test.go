package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// leftToPeople takes a host's demote hook away: nothing but people can stop its
// application.
func (h *host) leftToPeople() *host {
	h.change = func(c *Config) { c.Hooks.Demote = application.Hook{} }
	return h
}

// unstoppableActive is a cluster whose active is on such a host.
func unstoppableActive(c *cluster) (a, b *host) {
	a, b = c.host("a").leftToPeople(), c.host("b")
	a.write("state", "one")
	a.init()
	a.start()
	a.untilLeading()
	b.join(false)
	b.start()
	b.untilCached(a.backup())
	b.until("a is seen alive", func(s report.Status) bool { return s.HeadAlive && s.Ready })
	return a, b
}

func (h *host) caveat(text string) {
	h.t.Helper()
	h.until("it says: "+text, func(s report.Status) bool {
		return s.Healthy && strings.Contains(strings.Join(s.Caveats, "\n"), text)
	})
}

// historySays looks for what the cluster's history tells.
func (h *host) historySays(kind, text string) {
	h.t.Helper()
	history, err := h.agent.catalogue.ClusterHistory(h.t.Context(), "", 0)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range history.Events {
		if e.Kind == kind && strings.Contains(e.Text, text) {
			return
		}
	}
	h.t.Errorf("the history does not say %q: %+v", text, history.Events)
}

// TestASwitchoverFromWhereNothingCanStopTheApplicationNeedsAWord: it is refused before
// anything has begun, the status says so beforehand, and with the word everything that
// is signed says whose it is.
func TestASwitchoverFromWhereNothingCanStopTheApplicationNeedsAWord(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b := unstoppableActive(c)
		a.caveat("nothing on this host can stop the application")
		b.caveat("a: nothing there can stop the application")
		b.until("the outlook says so", func(s report.Status) bool {
			return !s.OutlookGood && strings.Contains(s.Outlook, "a switchover needs somebody who stops the application on a by hand")
		})
		if _, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{}); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "--application-is-stopped") {
			t.Fatalf("without a word: %v", err)
		}
		if !a.hooks.isRunning() {
			t.Error("something was done to the application all the same")
		}
		b.promoteBy("alice", promotions.PromotionRequest{AppIsStopped: true})
		b.untilLeading()
		a.until("stepped down", func(s report.Status) bool { return s.Role == ha.RoleStandby && s.Demotion == nil })
		ack, _, err := b.agent.control.Read(t.Context(), ha.KindAck, ha.AckKey(2, a.agent.self), "")
		if err != nil || !ack.(*ha.Ack).Unstopped {
			t.Errorf("the acknowledgement says that it can be stopped: %v, %v", ack, err)
		}
		b.historySays(control.PromotionKind, "on the word that the application of the old active is stopped")
		b.historySays(control.DemotionKind, "a stepped down: nothing there can stop its application")
		b.historySays(control.SalvageKind, "what that has written since is in no backup")
		a.tells(event.Alarm, "demotion", "nothing here can stop the application")
		a.tells(event.Warn, "handover", "it is stopped on the word of alice, and nobody has looked")
		s := b.until("it has looked what became of a", func(s report.Status) bool { return s.Takeover != nil && len(s.Takeover.Salvaged) > 0 })
		if s.Takeover.Unstopped {
			t.Errorf("with somebody's word it is said to run on: %+v", s.Takeover)
		}
	})
}

// TestTheActiveDeclinesWhatItsCandidateDidNotKnow: its record may be old.
func TestTheActiveDeclinesWhatItsCandidateDidNotKnow(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b := unstoppableActive(c)
		id, _, err := b.agent.asking.Ask(t.Context(), func(id string) ha.Event { return ha.Promote{Request: id, By: "alice"} })
		if err != nil {
			t.Fatal(err)
		}
		b.agent.asking.Forget(id)
		s, err := b.agent.promotions.WaitPromotion(t.Context(), id)
		if err != nil || s.State == promotions.PromotionDone || !strings.Contains(s.Error, "nothing on a can stop the application") {
			t.Errorf("%+v, %v", s, err)
		}
		if !a.hooks.isRunning() {
			t.Error("the application was stopped")
		}
	})
}

// TestAFailoverFromWhereNothingCanStopTheApplicationSaysSo: before and after.
func TestAFailoverFromWhereNothingCanStopTheApplicationSaysSo(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b := unstoppableActive(c)
		p, err := b.agent.promotions.Preflight(t.Context(), promotions.PromotionRequest{Mode: ha.ModeFailover})
		if err != nil || !p.OK {
			t.Fatalf("%+v, %v", p, err)
		}
		said := false
		for _, check := range p.Checks {
			said = said || check.Name == promotions.StopsCheck && strings.Contains(check.Detail, "it runs on beside the new one")
		}
		if !said {
			t.Errorf("the preflight does not say that two may run: %+v", p.Checks)
		}
		begun := time.Now()
		b.promoteBy("alice", promotions.PromotionRequest{Mode: ha.ModeFailover})
		b.untilLeading()
		if took := time.Since(begun); took < 35*time.Second {
			t.Errorf("an acknowledgement that proves nothing has ended the wait after %v", took)
		}
		b.tells(event.Alarm, "promotion", "nothing there can stop its application")
		b.caveat("the application on a was replaced in epoch 2, and nothing there can stop it")

		// With a hook it is stopped, and said no more.
		a.change = nil
		live := *a.agent.live()
		live.Hooks = a.config().Hooks
		if err := a.agent.reloading.Reload(t.Context(), live); err != nil {
			t.Fatal(err)
		}
		a.until("the hook has run", func(s report.Status) bool { return s.App == "stopped" })
		b.until("nothing more is said", func(s report.Status) bool {
			return !strings.Contains(strings.Join(s.Caveats, "\n"), "nothing there can stop")
		})
	})
}

// TestStrictFencingIsRefusedWhileSomebodyCannotStopTheApplication: wherever it could
// come true, and by a line that says what to do.
func TestStrictFencingIsRefusedWhileSomebodyCannotStopTheApplication(t *testing.T) {
	wants := func(t *testing.T, err error, who string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "on "+who+" there is nothing: configure hooks.demote") || strings.Contains(err.Error(), "\n") {
			t.Errorf("refused with: %v", err)
		}
	}
	strict := map[string]string{"fencing": "strict"}
	t.Run("on the active, and on any other", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *cluster) {
			a, b := unstoppableActive(c)
			err := a.agent.shared.SetConfig(t.Context(), strict)
			if wants(t, err, "a"); !ha.IsRefusal(err) {
				t.Errorf("not a refusal: %v", err)
			}
			b.halt()
			b.leftToPeople().start()
			a.until("b says so", func(s report.Status) bool { return !s.StopsItself("b") })
			wants(t, a.agent.shared.SetConfig(t.Context(), strict), "a, b")
			if s := a.agent.Status(); s.Config.Fencing != "available" || s.Head.Fencing.Mode != ha.Available {
				t.Errorf("%+v", s.Config)
			}
			for _, h := range []*host{a, b} {
				h.change = nil
				live := *h.agent.live()
				live.Hooks = h.config().Hooks
				if err := h.agent.reloading.Reload(t.Context(), live); err != nil {
					t.Fatal(err)
				}
			}
			a.until("b can", func(s report.Status) bool { return s.StopsItself("b") })
			if err := a.agent.shared.SetConfig(t.Context(), strict); err != nil {
				t.Errorf("with hooks: %v", err)
			}
		})
	})
	t.Run("at init, join, start and reload", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *cluster) {
			a, b := c.host("a"), c.host("b").leftToPeople()
			config := ha.DefaultConfig()
			config.Fencing.Mode = ha.Strict
			_, err := Init(t.Context(), b.config(), config)
			if wants(t, err, "b"); !errors.Is(err, ha.ErrInvalid) {
				t.Errorf("not invalid: %v", err)
			}
			if _, err := Init(t.Context(), a.config(), config); err != nil {
				t.Fatal(err)
			}
			a.start()
			a.untilLeading()
			_, err = Join(t.Context(), b.config(), Joining{})
			if wants(t, err, "b"); !errors.Is(err, ha.ErrInvalid) {
				t.Errorf("not invalid: %v", err)
			}
			if journal, err := datadir.ReadJournal(b.data); journal != nil || err != nil {
				t.Errorf("it has joined all the same: %+v, %v", journal, err)
			}
			cfg := b.config()
			cfg.Supervised = true // understudy exec is going to run it
			if _, err := Join(t.Context(), cfg, Joining{}); err != nil {
				t.Fatal(err)
			}

			live := *a.agent.live()
			live.Hooks.Demote = application.Hook{}
			err = a.agent.reloading.Reload(t.Context(), live)
			wants(t, err, "a")
			if s := a.agent.Status(); s.Reload.State != report.ReloadRefused || s.Unstoppable || a.agent.unstoppable() {
				t.Errorf("the hook is gone: %+v", s.Reload)
			}

			a.halt()
			a.leftToPeople()
			ag, err := Open(t.Context(), a.config())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err = errors.Join(ag.Run(ctx), ag.Close())
			if wants(t, err, "a"); !errors.Is(err, ha.ErrInvalid) {
				t.Errorf("not invalid: %v", err)
			}
			a.change = nil // nothing was lost by that
			a.start()
			a.untilLeading()
		})
	})
	t.Run("where nobody knew", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *cluster) {
			a, b, _, _ := threeHosts(t, c)
			if err := a.agent.shared.SetConfig(t.Context(), strict); err != nil {
				t.Fatal(err)
			}
			b.until("strict", func(s report.Status) bool { return s.Head.Fencing.Mode == ha.Strict })
			live := *b.agent.live()
			live.Hooks.Demote = application.Hook{}
			b.agent.reloading.live.Store(&live) // as if it had come in between
			b.agent.inbox.Post(ha.UsePolicy{Unstoppable: true})
			b.until("in red", func(s report.Status) bool {
				return !s.Healthy && strings.Contains(strings.Join(s.Problems, "\n"), "until then this instance cannot take over")
			})
			_, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{})
			wants(t, err, "b")
		})
	})
}
