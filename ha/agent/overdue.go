package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
)

const (
	// Backups are overdue when none has come for twice the interval, and at
	// least this long.
	overdueAtLeast = 15 * time.Minute
	// longPause is how long the schedule may be paused before somebody is asked
	// to look.
	longPause = time.Hour
)

// backupWatch follows, on this instance's own clocks, for how long no backup
// has come although one should have. It is the loop's.
type backupWatch struct {
	newest  string // id
	epoch   uint64
	paused  bool
	since   ha.Now // when one of these was seen to change
	overdue bool   // the alarm was raised
	long    bool   // a long pause was told of
}

// scheduleView is what this instance knows of the cluster's schedule: its own
// on the active, elsewhere what the active's record says.
type scheduleView struct {
	paused  *ha.Pause
	failing string // why the last backup failed
}

func (a *Agent) schedule(core ha.Status) scheduleView {
	if core.Role == ha.RoleActive || core.Head == nil {
		return scheduleView{paused: core.Paused, failing: core.BackupError}
	}
	if rec := a.records.Reading().Rows[core.Head.Active.Name].Record; rec != nil && rec.Role == ha.RoleActive {
		return scheduleView{paused: rec.Paused, failing: rec.BackupError}
	}
	return scheduleView{}
}

// watchBackups looks for how long no backup has come, and raises the alarm
// once. It gives that time, or 0 while it is no reason to worry.
func (a *Agent) watchBackups(ctx context.Context, core ha.Status, now ha.Now) time.Duration {
	w, h := &a.watch, core.Head
	_, config := a.configs.Current()
	if h == nil || config == nil {
		return 0
	}
	s := a.schedule(core)
	newest := ""
	if h.Newest != nil {
		newest = h.Newest.ID
	}
	if w.since == (ha.Now{}) || newest != w.newest || h.Epoch != w.epoch || (s.paused != nil) != w.paused {
		w.newest, w.epoch, w.paused, w.since = newest, h.Epoch, s.paused != nil, now
	}
	late := lateFor(h, s, max(now.Mono-w.since.Mono, now.Boot-w.since.Boot), now.Wall, config.Frequency)
	switch {
	case late > 0 && !w.overdue:
		a.tell.Note(ctx, event.Alarm, "backup", overdueText(late, config.Frequency, s.failing), nil)
	case late == 0 && w.overdue && s.paused == nil:
		a.tell.Note(ctx, event.Info, "backup", "backups come again", nil)
	}
	w.overdue = late > 0
	long := s.paused != nil && now.Wall.Sub(s.paused.Since) > longPause
	if long && !w.long {
		a.tell.Note(ctx, event.Warn, "schedule", longPauseText(s.paused, now.Wall), nil)
	}
	w.long = long
	return late
}

// lateFor says for how long no backup has come, when that is too long. watched
// is for how long this process has seen that none came. The newest backup's
// age by the wall clock counts only with a failure that is known: there may
// have been no reason for one before, or nobody to make it.
func lateFor(h *ha.Head, s scheduleView, watched time.Duration, wall time.Time, frequency ha.Duration) time.Duration {
	if s.paused != nil {
		return 0
	}
	late := watched
	if h.Newest != nil && s.failing != "" {
		late = max(watched, wall.Sub(h.Newest.Time))
	}
	if late <= max(2*time.Duration(frequency), overdueAtLeast) {
		return 0
	}
	return late
}

func overdueText(late time.Duration, frequency ha.Duration, failing string) string {
	text := fmt.Sprintf("no backup has been published for %s, though one is due every %v", late.Round(time.Second), frequency)
	if failing != "" {
		text += ": " + failing
	}
	return text
}

func longPauseText(p *ha.Pause, now time.Time) string {
	text := fmt.Sprintf("the schedule of backups has been paused for %s, by %s", now.Sub(p.Since).Round(time.Second), p.By)
	if p.Reason != "" {
		text += " (" + p.Reason + ")"
	}
	if p.Until != nil {
		return text + ", until " + p.Until.UTC().Format(time.RFC3339)
	}
	return text + ", until somebody resumes it: understudy resume"
}
