package agent

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/shared"
)

func TestARemovedInstanceIsRefusedUntilItJoinsAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d, _ := threeHosts(t, c)
		d.halt()
		if err := a.agent.shared.RemoveInstance(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		if err := b.ended(); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "was removed") {
			t.Errorf("the removed instance ends with: %v", err)
		}
		b.stop = nil
		b.refusesToOpen("was removed", "understudy join")
		if err := a.agent.shared.RemoveInstance(t.Context(), "nobody"); !errors.Is(err, ha.ErrInvalid) {
			t.Errorf("remove an instance that is not there: %v", err)
		}
		b.join(false)
		b.start()
		b.untilCached(a.backup())
		a.until("admitted again", func(s report.Status) bool {
			return !slices.ContainsFunc(s.Config.Instances, func(m ha.Member) bool { return m.Removed })
		})
	})
}

func TestAURLRegisteredAheadIsShownUntilItsInstanceJoins(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, _, _, _ := threeHosts(t, c)
		for _, bad := range []string{"", "host", "ftp://x", "http://user:secret@x"} {
			if err := a.agent.shared.AddInstance(t.Context(), bad); !errors.Is(err, ha.ErrInvalid) {
				t.Errorf("add %q: %v", bad, err)
			}
		}
		if err := a.agent.shared.AddInstance(t.Context(), "http://e/"); err != nil {
			t.Fatal(err)
		}
		shown := func(s report.Status) bool {
			return slices.ContainsFunc(s.Instances, func(i report.InstanceStatus) bool { return i.State == report.StateRegistered && i.URL == "http://e" })
		}
		if !shown(a.agent.Status()) {
			t.Error("it is not in the table")
		}
		e := c.host("e")
		e.join(false)
		a.until("joined", func(s report.Status) bool { return !shown(s) && len(s.Instances) == 4 })
	})
}

func TestLeaveDeregistersAndEmptiesTheCache(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		if _, err := Leave(t.Context(), b.config()); !errors.Is(err, datadir.ErrLocked) {
			t.Errorf("leave while the agent runs: %v", err)
		}
		b.halt()
		if _, err := Leave(t.Context(), b.config()); err != nil {
			t.Fatal(err)
		}
		b.refusesToOpen("understudy join")
		packs, err := os.ReadDir(filepath.Join(b.data, datadir.CacheFolder, "packs"))
		if err != nil || len(packs) != 0 {
			t.Errorf("left in the cache: %v, %v", packs, err)
		}
		all, err := a.agent.table.Instances(t.Context())
		if err != nil || len(all) != 2 {
			t.Errorf("instances: %+v, %v", all, err)
		}
		b.join(false)
		b.start()
		b.untilCached(a.backup())
	})
}

// leaving is a source that has left something in its application.
type leaving struct {
	source.Source
	err  error
	left int
}

func (l *leaving) Leave(context.Context) error {
	l.left++
	return l.err
}

// What an application keeps for the agent is taken out; where that fails it is named, and
// tried again.
func TestWhoLeavesHasItsApplicationForgetIt(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		_, b, _, _ := threeHosts(t, c)
		b.halt()
		cfg := b.config()
		src := &leaving{Source: cfg.Sources[0], err: errors.New("it hangs")}
		cfg.Sources = []source.Source{src}
		left, err := Leave(t.Context(), cfg)
		if err != nil || len(left.Leftovers) != 1 || left.Leftovers[0].Reason != "it hangs" {
			t.Errorf("left %+v, %v", left, err)
		}
		src.err = nil
		if left, err := Leave(t.Context(), cfg); err != nil || len(left.Leftovers) > 0 || src.left != 2 {
			t.Errorf("left %+v, %v, asked %d times", left, err, src.left)
		}
		b.refusesToOpen("understudy join")
	})
}

func TestTheTableShowsEveryInstancesState(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d, _ := threeHosts(t, c)
		state := func(name, want string) func(report.Status) bool {
			return func(s report.Status) bool {
				return slices.ContainsFunc(s.Instances, func(i report.InstanceStatus) bool { return i.Name == name && strings.HasPrefix(i.State, want) })
			}
		}
		for _, h := range []*host{a, b, d} {
			h.until("active and in sync", func(s report.Status) bool {
				return state("a", report.StateActive)(s) && state("b", report.StateInSync)(s) && state("d", report.StateInSync)(s)
			})
		}
		d.halt()
		a.backup()
		a.until("behind", state("d", report.StateBehind))
		a.until("unreachable", state("d", report.StateUnreachable+" since 2000-01-01T"))
		e := c.host("e")
		e.join(false)
		a.until("waiting", state("e", report.StateWaiting))
		text, err := json.Marshal(a.agent.Status())
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`"role":"active"`, `"cluster":"`, `"instances":[{"name":"a"`, `"epoch":1`, `"outlook":"`, `"cached":`} {
			if !strings.Contains(string(text), want) {
				t.Errorf("no %s in %s", want, text)
			}
		}
	})
}

func TestAFailedRestoreLeavesEverythingAsItWas(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		b.halt()
		b.hooks.setFail("probe", errors.New("it does not look right"))
		cfg := b.config()
		cfg.Hooks.Probe.Command = []string{"true"}
		cfg.Rehearsal.Off = true // it is the promotion that fails
		agent, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		b.run(agent)
		b.until("ready", func(s report.Status) bool { return s.Head != nil && s.Bucket == "ok" })
		b.write("mine", "untouched")
		id, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := b.agent.promotions.WaitPromotion(t.Context(), id)
		if err != nil || s.State != promotions.PromotionRolledBack || !strings.Contains(s.Error, "does not look right") {
			t.Errorf("%+v, %v", s, err)
		}
		b.has(map[string]string{"mine": "untouched"})
		a.until("taken back", func(s report.Status) bool { return s.Handover == nil && leading(s) })
		a.backup()
	})
}

func TestWithoutNotificationsPollingIsEnough(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d, _ := threeHosts(t, c)
		c.net.setCut(true)
		id := a.backup()
		b.untilCached(id)
		d.untilCached(id)
		s := a.until("failures are counted", func(s report.Status) bool { return s.Stats.NotificationsFailed >= 2 })
		if !s.Healthy {
			t.Errorf("a dead standby is not the active's trouble: %v", s.Problems)
		}
		before := s.Stats.NotificationsFailed
		a.backup()
		a.until("counted again", func(s report.Status) bool { return s.Stats.NotificationsFailed >= before+2 })
		said := 0
		for _, e := range a.agent.Events().Recent(0, 0) {
			if e.Kind == "notification" {
				said++
			}
		}
		if said != 2 {
			t.Errorf("failures were said %d times, want once for each peer", said)
		}
	})
}

func TestAPromoteHookThatFailsLeavesTheInstanceActive(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		_, b, _, _ := threeHosts(t, c)
		b.hooks.setFail("promote", errors.New("no such unit"))
		b.promote(promotions.PromotionRequest{})
		s := b.until("active with the application down", func(s report.Status) bool { return s.Leading && s.AppError != "" })
		if s.Healthy || s.Stats.HookFailures["promote"] == 0 || s.Stats.Failures["application.start"] == 0 || b.hooks.isRunning() {
			t.Errorf("%+v", s)
		}
		b.hooks.setFail("", nil)
		b.untilLeading()
	})
}

func TestAnActiveWhoseStandbysAreBehindSaysSo(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d, _ := threeHosts(t, c)
		a.until("healthy", func(s report.Status) bool { return s.Healthy })
		b.halt()
		d.halt()
		a.backup()
		a.until("said", func(s report.Status) bool {
			return slices.ContainsFunc(s.Problems, func(p string) bool { return strings.HasPrefix(p, "no standby has the newest backup") })
		})
		b.start()
		a.until("one is still away", func(s report.Status) bool {
			return s.Covered() && !s.Healthy && slices.ContainsFunc(s.Problems, func(p string) bool { return strings.HasPrefix(p, "d is unreachable since") })
		})
		d.start()
		a.until("healthy again", func(s report.Status) bool { return s.Healthy })
	})
}

// TestTheTableFollowsTheHeadAndTheRecordWhicheverIsNewer: judged by the epoch.
func TestTheTableFollowsTheHeadAndTheRecordWhicheverIsNewer(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		name        string
		head        uint64
		rec         ha.Instance
		role        ha.Role
		state       string
		unreachable bool
	}{
		"the old active's record is of before":   {name: "a", head: 2, rec: ha.Instance{Role: ha.RoleActive, State: report.StateActive, Epoch: 1}, role: ha.RoleStandby, state: report.StateReplaced},
		"the new active's record is of before":   {name: "b", head: 2, rec: ha.Instance{Role: ha.RoleStandby, State: report.StatePromoting, Epoch: 1}, role: ha.RoleActive, state: report.StateActive},
		"the old active steps down":              {name: "a", head: 2, rec: ha.Instance{Role: ha.RoleStandby, State: report.StateDemoting, Epoch: 2}, role: ha.RoleStandby, state: report.StateDemoting},
		"the old active has stepped down":        {name: "a", head: 2, rec: ha.Instance{Role: ha.RoleStandby, State: report.StateInSync, Epoch: 2}, role: ha.RoleStandby, state: report.StateInSync},
		"the record is of an epoch not seen yet": {name: "a", head: 2, rec: ha.Instance{Role: ha.RoleActive, State: report.StateActive, Epoch: 3}, role: ha.RoleActive, state: report.StateActive},
	} {
		h := &ha.Head{Epoch: c.head, Active: ha.Peer{Name: "b"}}
		got := rowStatus(c.name, shared.Row{Record: &c.rec, Attrs: blobstore.Attrs{Time: now}}, h, shared.Reading{Began: now, Head: h}, time.Second)
		if got.Role != c.role || got.State != c.state {
			t.Errorf("%s: %s, %s", name, got.Role, got.State)
		}
	}
}

// TestAnOldActivesRowIsRightSoonAfterASwitchover: without anybody looking at the
// table meanwhile.
func TestAnOldActivesRowIsRightSoonAfterASwitchover(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d, _ := threeHosts(t, c)
		c.pass(3 * time.Minute)
		b.promote(promotions.PromotionRequest{})
		b.untilLeading()
		a.untilCached(b.backup())
		c.pass(10 * time.Second)
		for _, h := range []*host{a, b, d} {
			for _, i := range h.agent.Status().Instances {
				if want := map[string]string{"a": report.StateInSync, "b": report.StateActive, "d": report.StateInSync}[i.Name]; i.State != want {
					t.Errorf("%s says that %s is %q, want %q", h.name, i.Name, i.State, want)
				}
			}
		}
	})
}
