package requests

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
)

// PauseRequest asks to keep the schedule from making backups.
type PauseRequest struct {
	Reason string
	// For is how long, on this instance's own clock; 0: until Resume.
	For time.Duration
}

// maxPause is the longest pause that ends by itself.
const maxPause = 366 * 24 * time.Hour

// Pause keeps the schedule from making backups; one-off backups and
// switchovers go on. Only the active has a schedule, and a pause ends with its
// term as the active.
func (r *Requests) Pause(ctx context.Context, req PauseRequest) error {
	if req.For < 0 || req.For > maxPause {
		return ha.Invalidf("a pause of %v is not longer than nothing and at most a year", req.For)
	}
	now := r.clock.Now().Wall
	p := &ha.Pause{By: event.Actor(ctx), Reason: req.Reason, Since: now, Left: ha.Duration(req.For)}
	text := "the schedule of backups was paused"
	if req.For > 0 {
		until := now.Add(req.For)
		p.Until = &until
		text += fmt.Sprintf(" for %v", req.For)
	}
	if req.Reason != "" {
		text += " (" + req.Reason + ")"
	}
	return r.setPaused(ctx, p, text)
}

// Resume has the schedule go on.
func (r *Requests) Resume(ctx context.Context) error {
	return r.setPaused(ctx, nil, "the schedule of backups was resumed")
}

func (r *Requests) setPaused(ctx context.Context, p *ha.Pause, text string) error {
	if err := r.asking.OnlyActive("the schedule is paused and resumed"); err != nil {
		return err
	}
	if _, err := r.asking.Do(ctx, func(id string) ha.Event { return ha.SetPaused{Request: id, Pause: p} }); err != nil {
		return err
	}
	level := event.Info
	if p != nil {
		level = event.Warn
	}
	r.notes.Note(ctx, level, "schedule", text, nil)
	return nil
}
