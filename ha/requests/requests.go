package requests

import (
	"context"
	"fmt"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/event"
)

// Notes are where it is told what was asked for.
type Notes interface {
	Note(ctx context.Context, level event.Level, kind, text string, fields map[string]any)
}

// Requests are what is asked of the active.
type Requests struct {
	asking *Asking
	state  State
	full   func()
	clock  clock.Clock
	notes  Notes
}

// New asks by asking. full makes the next backup refer to no earlier pack.
func New(asking *Asking, s State, full func(), c clock.Clock, n Notes) *Requests {
	return &Requests{asking: asking, state: s, full: full, clock: c, notes: n}
}

// Backup makes a one-off backup and waits until it is published. Requests that
// come while a backup is being made share the next one. On an instance that is
// not the active it is a *ha.Refusal that names the active.
func (r *Requests) Backup(ctx context.Context, trigger backup.Trigger, reason string) (backup.Ref, error) {
	ref, err := r.asking.Do(ctx, backupRequest(ctx, trigger, reason))
	if err != nil {
		return backup.Ref{}, fmt.Errorf("make backup: %w", err)
	}
	return *ref, nil
}

// BackupSoon is Backup without the wait: it returns once the request is taken.
func (r *Requests) BackupSoon(ctx context.Context, trigger backup.Trigger, reason string) error {
	id, answer, err := r.asking.Ask(ctx, backupRequest(ctx, trigger, reason))
	if err != nil {
		return fmt.Errorf("make backup: %w", err)
	}
	defer r.asking.Forget(id)
	select {
	case e := <-answer: // refused at once
		if e.Refused != nil {
			return fmt.Errorf("make backup: %w", e.Refused)
		}
	default:
	}
	return nil
}

func backupRequest(ctx context.Context, trigger backup.Trigger, reason string) func(string) ha.Event {
	if trigger == "" {
		trigger = backup.Requested
	}
	by := event.Actor(ctx)
	return func(id string) ha.Event {
		return ha.RequestBackup{Request: id, Trigger: trigger, By: by, Reason: reason}
	}
}

// RequireFull makes the next backup read everything and store it again.
func (r *Requests) RequireFull(ctx context.Context) error {
	if core := r.state.View(); core.Role != ha.RoleActive || core.Refused != "" {
		return &ha.Refusal{Reason: "this instance is not the active: backups are made there"}
	}
	r.full()
	r.notes.Note(ctx, event.Info, "backup", "the next backup reads everything again, and refers to no earlier pack", nil)
	return nil
}

// StartAnyway starts the application of an active that cannot reach the
// bucket, on an operator's word. It is recorded.
func (r *Requests) StartAnyway(ctx context.Context) error {
	by := event.Actor(ctx)
	_, err := r.asking.Do(ctx, func(id string) ha.Event { return ha.StartAnyway{Request: id, By: by} })
	return err
}
