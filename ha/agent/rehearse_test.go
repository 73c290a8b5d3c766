package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// judged gives a host a probe hook.
func judged(cfg *Config) { cfg.Hooks.Probe.Command = []string{"true"} }

// rehearsingHosts is an active and a standby with a probe, which has rehearsed
// the first backup.
func rehearsingHosts(t *testing.T, c *cluster) (a, b *host, first string) {
	t.Helper()
	a, b = c.host("a"), c.host("b")
	a.change, b.change = judged, judged
	a.write("state", "one")
	a.init()
	a.start()
	a.untilLeading()
	first = a.until("the first backup", func(s report.Status) bool { return s.LastBackup != nil }).LastBackup.ID
	b.join(false)
	b.start()
	b.untilRehearsed(first)
	return a, b, first
}

func (h *host) untilRehearsed(id string) {
	h.t.Helper()
	h.until("backup "+id+" is rehearsed", func(s report.Status) bool { return s.Rehearsed == ha.Rehearsed{Backup: id} && s.Staged == id })
}

func (h *host) probes() int {
	h.hooks.mu.Lock()
	defer h.hooks.mu.Unlock()
	n := 0
	for _, call := range h.hooks.calls {
		if call == "probe" {
			n++
		}
	}
	return n
}

func TestAStandbyRehearsesWhatItCachesAndSaysSo(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, first := rehearsingHosts(t, c)
		if env := b.hooks.env["probe"]; !slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "UNDERSTUDY_STAGED_FILES=") }) {
			t.Errorf("the probe was told %q", env)
		}
		attested := func(all []ha.Rehearsal) bool {
			return len(all) == 1 && all[0].Backup == first && all[0].Result == ha.RehearsalPassed && all[0].Output == "probe ran" && all[0].Bytes > 0
		}
		a.until("the active knows", func(s report.Status) bool {
			i := slices.IndexFunc(s.Instances, func(i report.InstanceStatus) bool { return i.Name == "b" })
			return i >= 0 && attested(s.Instances[i].Rehearsals)
		})
		info, _, err := a.agent.catalogue.BackupInfo(t.Context(), first)
		if err != nil || len(info.Rehearsals) != 1 || info.Rehearsals[0].Instance != "b" {
			t.Errorf("%+v, %v", info.Rehearsals, err)
		}
		offline, _, err := control.Open(t.Context(), control.Config{Store: c.memory, Ring: c.ring})
		if err != nil {
			t.Fatal(err)
		}
		if all, err := offline.Chain().List(t.Context(), "", 0); err != nil || len(all.Backups) != 1 || len(all.Backups[0].Rehearsals) != 1 {
			t.Errorf("without an agent: %+v, %v", all, err)
		}
		b.halt()
		b.start()
		b.until("in sync", func(s report.Status) bool {
			return s.State == report.StateInSync && s.Staged == first && s.Bucket == "ok"
		})
		if n := b.probes(); n != 1 {
			t.Errorf("the probe ran %d times", n)
		}
		second := a.backup()
		b.untilRehearsed(second)
		p, err := b.agent.promotions.Preflight(t.Context(), promotions.PromotionRequest{Mode: ha.ModeFailover})
		if i := slices.IndexFunc(p.Checks, func(c promotions.Check) bool { return c.Name == "rehearsal" }); err != nil || i < 0 || !strings.HasPrefix(p.Checks[i].Detail, "passed at ") {
			t.Errorf("preflight %+v, %v", p.Checks, err)
		}
		done := b.promote(promotions.PromotionRequest{Mode: ha.ModeFailover})
		if i := slices.IndexFunc(done.Steps, func(s ha.Step) bool { return s.Name == "restore" }); i < 0 || !strings.Contains(done.Steps[i].Note, ": rehearsed, and all 2 entries are as they were restored; content ") {
			t.Errorf("steps %+v", done.Steps)
		}
		if n := b.probes(); n != 2 {
			t.Errorf("the probe ran %d times for two backups", n)
		}
		b.has(map[string]string{"state": "one"})
		third := b.until("a backup of epoch 2", func(s report.Status) bool { return s.LastBackup != nil && s.LastBackup.Epoch == 2 }).LastBackup.ID
		a.untilRehearsed(third) // the demoted one is a standby like any other
	})
}

func TestAFailedRehearsalKeepsTheLastGoodStage(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, first := rehearsingHosts(t, c)
		b.hooks.setFail("probe", errors.New("the ledger does not add up"))
		a.write("state", "two")
		second := a.backup()
		s := b.until("the rehearsal fails", func(s report.Status) bool { return s.Rehearsed.Error != "" && s.Staged == first })
		if s.State != report.StateRehearsalFailed || s.Healthy || s.Rehearsed.Backup != second {
			t.Errorf("state %q, problems %q, %+v", s.State, s.Problems, s.Rehearsed)
		}
		if !slices.ContainsFunc(b.agent.Events().Recent(0, 50), func(e event.Event) bool { return e.Level == event.Alarm && e.Kind == "rehearsal" }) {
			t.Error("no alarm")
		}
		a.until("the active sees it", func(s report.Status) bool {
			return slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "b: the rehearsal of a backup failed") })
		})
		if _, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{}); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "--allow-failed-rehearsal") {
			t.Errorf("promote: %v", err)
		}
		b.halt()
		b.start()
		b.until("it is known after a restart", func(s report.Status) bool {
			return s.State == report.StateRehearsalFailed && s.Staged == first && s.Bucket == "ok"
		})
		all := b.agent.Status().Instances
		i := slices.IndexFunc(all, func(i report.InstanceStatus) bool { return i.Self })
		if r := all[i].Rehearsals; len(r) != 2 || r[0].Result != ha.RehearsalFailed || r[0].Output != "probe failed" || !strings.Contains(r[0].Error, "add up") {
			t.Errorf("%+v", r)
		}
		b.promote(promotions.PromotionRequest{Mode: ha.ModeFailover, AllowFailedRehearsal: true})
		b.has(map[string]string{"state": "two"})
	})
}

func TestAFailedRehearsalIsMadeGoodByAnother(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, first := rehearsingHosts(t, c)
		b.hooks.setFail("probe", errors.New("no"))
		second := a.backup()
		b.until("the rehearsal fails", func(s report.Status) bool { return s.Rehearsed.Error != "" })
		b.promote(promotions.PromotionRequest{Mode: ha.ModeFailover, Backup: first}) // which has passed
		b.hooks.setFail("none", nil)
		b.until("the newest", func(s report.Status) bool { return s.LastBackup != nil && s.LastBackup.ID != second })
		newest := a.until("in sync again", func(s report.Status) bool { return s.State == report.StateInSync }).LastBackup.ID
		a.untilRehearsed(newest)
	})
}

func TestAnInstanceThatDoesNotRehearseKeepsNoStage(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		_, b, _ := rehearsingHosts(t, c)
		b.halt()
		b.change = func(cfg *Config) { cfg.Rehearsal.Off = true }
		b.start()
		b.until("in sync", func(s report.Status) bool { return s.State == report.StateInSync && s.Staged == "" })
		synctest.Wait()
		b.alone()
		p, err := b.agent.promotions.Preflight(t.Context(), promotions.PromotionRequest{})
		if i := slices.IndexFunc(p.Checks, func(c promotions.Check) bool { return c.Name == "rehearsal" }); err != nil || i < 0 || !p.Checks[i].OK || !strings.HasSuffix(p.Checks[i].Detail, "the restore runs first") {
			t.Errorf("preflight %+v, %v", p.Checks, err)
		}
		done := b.promote(promotions.PromotionRequest{})
		if i := slices.IndexFunc(done.Steps, func(s ha.Step) bool { return s.Name == "restore" }); i < 0 || !strings.Contains(done.Steps[i].Note, ": restored ") {
			t.Errorf("steps %+v", done.Steps)
		}
	})
}

func TestLeavingDropsWhatOnlyAMemberHas(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		_, b, _ := rehearsingHosts(t, c)
		b.federates("a:9090")
		b.halt()
		pending := filepath.Join(b.data, datadir.OutboxFile)
		if err := os.WriteFile(pending, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Leave(t.Context(), b.config()); err != nil {
			t.Fatal(err)
		}
		b.alone()
		if text, err := os.ReadFile(b.targets()); err != nil || string(text) != "[]\n" {
			t.Errorf("Prometheus here still follows %s, %v", text, err)
		}
		if _, err := os.Stat(pending); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what webhooks were to be told is still there: %v", err)
		}
	})
}

// alone checks that nothing lies beside the application's state.
func (h *host) alone() {
	h.t.Helper()
	entries, err := os.ReadDir(filepath.Dir(h.app))
	if err != nil || len(entries) != 1 {
		h.t.Errorf("beside the application's state: %v, %v", entries, err)
	}
}

// TestTheCacheKeepsUpWithASlowRehearsal, which goes on reading its backup though
// that is no longer among the newest.
func TestTheCacheKeepsUpWithASlowRehearsal(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _ := rehearsingHosts(t, c)
		b.hooks.block("probe")
		a.write("state", "slow")
		slow := a.backup()
		b.until("the rehearsal has begun", func(s report.Status) bool { return s.Work == "rehearsal" })
		var newest string
		for i := range 12 {
			a.write("state", strings.Repeat("x", i))
			newest = a.backup()
			b.untilCached(newest)
		}
		s := b.agent.Status()
		if s.State != report.StateInSync || s.Work != "rehearsal" || !slices.ContainsFunc(s.Cached, func(ref backup.Ref) bool { return ref.ID == slow }) {
			t.Errorf("state %q, work %q, cached %v", s.State, s.Work, s.Cached)
		}
		b.hooks.unblock()
		b.untilRehearsed(newest)
		if n := b.probes(); n != 3 {
			t.Errorf("the probe ran %d times: for the first, the slow one and the newest", n)
		}
	})
}
