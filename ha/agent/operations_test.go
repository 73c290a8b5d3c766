package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/requests"
)

func TestWhatTheActiveAloneDoesIsRefusedElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		ctx := t.Context()
		for name, err := range map[string]error{
			"backup":   b.agent.requests.BackupSoon(ctx, "", ""),
			"pause":    b.agent.requests.Pause(event.WithActor(ctx, "me"), requests.PauseRequest{}),
			"add":      b.agent.shared.AddInstance(ctx, "http://x"),
			"remove":   b.agent.shared.RemoveInstance(ctx, "d"),
			"remove a": a.agent.shared.RemoveInstance(ctx, "a"),
			"start":    b.agent.requests.StartAnyway(event.WithActor(ctx, "me")),
			"cancel":   a.agent.promotions.CancelPromotion(ctx),
			"leave":    func() error { a.halt(); defer a.start(); _, err := Leave(ctx, a.config()); return err }(),
		} {
			if !ha.IsRefusal(err) {
				t.Errorf("%s: %v, want a refusal", name, err)
			}
		}
		if _, err := b.agent.requests.Backup(ctx, "", ""); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "by a") {
			t.Errorf("backup: %v", err)
		}
		a.untilLeading()
		if _, err := a.agent.promotions.Promote(ctx, promotions.PromotionRequest{}); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "active already") {
			t.Errorf("promote the active: %v", err)
		}
	})
}

func TestAPausedScheduleMakesNoBackups(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, first := threeHosts(t, c)
		if err := a.agent.requests.Pause(event.WithActor(t.Context(), "me"), requests.PauseRequest{}); err != nil {
			t.Fatal(err)
		}
		a.until("20 minutes later", func(s report.Status) bool { return s.LastBackupAge > 1200 })
		if s := a.agent.Status(); s.LastBackup.ID != first || !s.Healthy || s.NextBackup >= 0 || s.BackupOverdue > 0 {
			t.Errorf("a short pause: %+v", s)
		}
		a.until("45 minutes later", func(s report.Status) bool { return s.LastBackupAge > 2700 })
		a.until("an hour later", func(s report.Status) bool { return !s.Healthy })
		b.until("the standby knows", func(s report.Status) bool { return s.Paused != nil && s.Paused.By == "me" && !s.Healthy })
		for _, h := range []*host{a, b} {
			s := h.agent.Status()
			if s.BackupOverdue > 0 || len(s.Problems) != 1 || !strings.Contains(s.Problems[0], "paused for 1h") || !strings.Contains(s.Problems[0], "by me") {
				t.Errorf("%s: overdue %v, %q", h.name, s.BackupOverdue, s.Problems)
			}
			h.tells(event.Warn, "schedule", "paused for 1h")
		}
		if err := a.agent.requests.Resume(event.WithActor(t.Context(), "me")); err != nil {
			t.Fatal(err)
		}
		a.until("a scheduled backup", func(s report.Status) bool { return s.LastBackup.ID != first && s.Healthy })
	})
}

func TestAnAgentThatCannotJournalSaysSoAndGoesOn(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, _, _, _ := threeHosts(t, c)
		journal := filepath.Join(a.data, datadir.JournalFile)
		if err := errors.Join(os.Remove(journal), os.Mkdir(journal, 0o700)); err != nil {
			t.Fatal(err)
		}
		red := func(s report.Status) bool { return strings.Contains(strings.Join(s.Problems, "\n"), "journal") }
		a.until("red", red)
		if !a.hooks.isRunning() {
			t.Error("the application is not left as it is")
		}
		if err := os.Remove(journal); err != nil {
			t.Fatal(err)
		}
		a.until("well again", func(s report.Status) bool { return s.Leading && !red(s) })
		a.backup()
	})
}

func TestTheActivesCacheStaysSmall(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, _, _, _ := threeHosts(t, c)
		count := func() (n int) {
			err := filepath.WalkDir(filepath.Join(a.data, datadir.CacheFolder, "packs"), func(_ string, d os.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					n++
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		const trimEvery = 10 // backups (package work)
		most := 0
		for i := range 4 * trimEvery {
			a.write("state", fmt.Sprint(i))
			a.backup()
			most = max(most, count())
		}
		if most > 6*trimEvery {
			t.Errorf("up to %d packs in the active's cache after %d backups", most, 4*trimEvery)
		}
	})
}
