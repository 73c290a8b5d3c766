package agent

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/requests"
)

// told counts the events of a level and kind whose text holds this.
func (h *host) told(level event.Level, kind, text string) int {
	h.t.Helper()
	events, err := h.agent.Events().Select(event.Filter{Kinds: []string{kind}, Levels: []event.Level{level}})
	if err != nil {
		h.t.Fatal(err)
	}
	return len(slices.DeleteFunc(events, func(e event.Event) bool { return !strings.Contains(e.Text, text) }))
}

// tells waits until an event is told, and checks that it was told once.
func (h *host) tells(level event.Level, kind, text string) {
	h.t.Helper()
	h.until("it tells: "+text, func(report.Status) bool { return h.told(level, kind, text) > 0 })
	if n := h.told(level, kind, text); n != 1 {
		h.dump()
		h.t.Errorf("%s told %d times of %s %s: %s", h.name, n, level, kind, text)
	}
}

// TestOverdueBackupsAreRedEverywhere: twice the interval is ten minutes here,
// so it is a quarter of an hour.
func TestOverdueBackupsAreRedEverywhere(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		published := time.Now()
		if err := os.Rename(a.app, a.app+".away"); err != nil {
			t.Fatal(err)
		}
		for _, h := range []*host{a, b} {
			s := h.until("backups are overdue", func(s report.Status) bool { return s.BackupOverdue > 0 })
			if late := time.Since(published); late < 15*time.Minute || late > 17*time.Minute || s.Healthy {
				t.Errorf("%s: red after %v, healthy %v", h.name, late, s.Healthy)
			}
			if !slices.ContainsFunc(s.Problems, func(p string) bool {
				return strings.Contains(p, "no backup has been published for 15m") && strings.Contains(p, "no such file")
			}) {
				t.Errorf("%s: %q", h.name, s.Problems)
			}
			h.tells(event.Alarm, "backup", "no backup has been published for")
		}
		// A process that has just started knows from the first failure on.
		a.halt()
		a.start()
		a.until("red again", func(s report.Status) bool { return s.BackupOverdue > 15*60 })
		if since := a.agent.Status().Uptime; since > 60 {
			t.Errorf("only %v s after the start", since)
		}
		if err := os.Rename(a.app+".away", a.app); err != nil {
			t.Fatal(err)
		}
		a.backup()
		for _, h := range []*host{a, b} {
			h.until("all is well again", func(s report.Status) bool { return s.BackupOverdue == 0 && s.Healthy })
			h.tells(event.Info, "backup", "backups come again")
		}
	})
}

// TestAPauseThatEndsByItselfRaisesNoAlarm: the backups of the pause were not
// due.
func TestAPauseThatEndsByItselfRaisesNoAlarm(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, first := threeHosts(t, c)
		if err := a.agent.requests.Pause(event.WithActor(t.Context(), "alice"), requests.PauseRequest{Reason: "migration", For: 20 * time.Minute}); err != nil {
			t.Fatal(err)
		}
		if s := a.agent.Status(); s.PauseLeft < 1190 || s.PauseLeft > 1200 || s.Paused.Until == nil || s.Paused.Reason != "migration" {
			t.Errorf("%v s left of %+v", s.PauseLeft, s.Paused)
		}
		b.until("the standby knows", func(s report.Status) bool { return s.Paused != nil && s.PauseLeft > 0 })
		begun := time.Now()
		s := a.until("a scheduled backup", func(s report.Status) bool { return s.LastBackup.ID != first })
		if took := time.Since(begun); took < 18*time.Minute || took > 21*time.Minute || s.Paused != nil || s.PauseLeft >= 0 {
			t.Errorf("after %v, paused %+v", took, s.Paused)
		}
		a.tells(event.Info, "schedule", "the pause of the schedule by alice is over after 20m")
		b.until("the standby knows", func(s report.Status) bool { return s.Paused == nil && s.Healthy })
		for _, h := range []*host{a, b} {
			if n := h.told(event.Alarm, "backup", "no backup"); n != 0 {
				t.Errorf("%s raised %d alarms", h.name, n)
			}
		}
	})
}
