package watch

import (
	"context"
	"fmt"
	"sync/atomic"
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

// Overdue follows, on this instance's own clocks, for how long no backup has come
// although one should have. Look is called by one goroutine; Late is safe for concurrent
// use.
type Overdue struct {
	log      Notes
	schedule func(core ha.Status) Schedule
	shared   func() (digest string, c *ha.Config)

	newest  string // id
	epoch   uint64
	paused  bool
	since   ha.Now // when one of these was seen to change
	overdue bool   // the alarm was raised
	long    bool   // a long pause was told of

	late atomic.Int64 // nanoseconds
}

// Notes is where it is told.
type Notes interface {
	Note(ctx context.Context, level event.Level, kind, text string, fields map[string]any)
}

// Schedule is what this instance knows of the cluster's schedule.
type Schedule struct {
	Paused  *ha.Pause
	Failing string // why the last backup failed
}

// NewOverdue has seen nothing yet. shared is the shared configuration in force; nil while
// it is not known.
func NewOverdue(log Notes, schedule func(core ha.Status) Schedule, shared func() (string, *ha.Config)) *Overdue {
	return &Overdue{log: log, schedule: schedule, shared: shared}
}

// Late is for how long no backup has come, when that is too long; 0: it is no reason to
// worry.
func (w *Overdue) Late() time.Duration { return time.Duration(w.late.Load()) }

// Look looks for how long no backup has come, and raises the alarm once.
func (w *Overdue) Look(ctx context.Context, core ha.Status, now ha.Now) {
	w.late.Store(int64(w.look(ctx, core, now)))
}

func (w *Overdue) look(ctx context.Context, core ha.Status, now ha.Now) time.Duration {
	h := core.Head
	_, config := w.shared()
	if h == nil || config == nil {
		return 0
	}
	s := w.schedule(core)
	newest := ""
	if h.Newest != nil {
		newest = h.Newest.ID
	}
	if w.since == (ha.Now{}) || newest != w.newest || h.Epoch != w.epoch || (s.Paused != nil) != w.paused {
		w.newest, w.epoch, w.paused, w.since = newest, h.Epoch, s.Paused != nil, now
	}
	late := lateFor(h, s, now.Since(w.since), now.Wall, config.Frequency)
	switch {
	case late > 0 && !w.overdue:
		w.log.Note(ctx, event.Alarm, "backup", OverdueText(late, config.Frequency, s.Failing), nil)
	case late == 0 && w.overdue && s.Paused == nil:
		w.log.Note(ctx, event.Info, "backup", "backups come again", nil)
	}
	w.overdue = late > 0
	long := s.Paused != nil && IsLong(s.Paused, now.Wall)
	if long && !w.long {
		w.log.Note(ctx, event.Warn, "schedule", PauseText(s.Paused, now.Wall), nil)
	}
	w.long = long
	return late
}

// lateFor says for how long no backup has come, when that is too long. watched
// is for how long this process has seen that none came. The newest backup's
// age by the wall clock counts only with a failure that is known: there may
// have been no reason for one before, or nobody to make it.
func lateFor(h *ha.Head, s Schedule, watched time.Duration, wall time.Time, frequency ha.Duration) time.Duration {
	if s.Paused != nil {
		return 0
	}
	late := watched
	if h.Newest != nil && s.Failing != "" {
		late = max(watched, wall.Sub(h.Newest.Time))
	}
	if late <= max(2*time.Duration(frequency), overdueAtLeast) {
		return 0
	}
	return late
}

// OverdueText says it for people.
func OverdueText(late time.Duration, frequency ha.Duration, failing string) string {
	text := fmt.Sprintf("no backup has been published for %s, though one is due every %v", late.Round(time.Second), frequency)
	if failing != "" {
		text += ": " + failing
	}
	return text
}

// IsLong reports whether the schedule is paused for so long that somebody is to look.
func IsLong(p *ha.Pause, now time.Time) bool { return now.Sub(p.Since) > longPause }

// PauseText says for people for how long the schedule is paused, and by whom.
func PauseText(p *ha.Pause, now time.Time) string {
	text := fmt.Sprintf("the schedule of backups has been paused for %s, by %s", now.Sub(p.Since).Round(time.Second), p.By)
	if p.Reason != "" {
		text += " (" + p.Reason + ")"
	}
	if p.Until != nil {
		return text + ", until " + p.Until.UTC().Format(time.RFC3339)
	}
	return text + ", until somebody resumes it: understudy resume"
}
