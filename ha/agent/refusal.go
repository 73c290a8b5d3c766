package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
)

// refusals remembers which refusals were told lately: an application that asks
// a standby for a backup every second must not fill the log. It is safe for
// concurrent use.
type refusals struct {
	mu   sync.Mutex
	told map[string]time.Duration // monotonic
}

const (
	refusalPause = time.Minute // between two events about the same
	maxRefusals  = 64          // remembered
)

// first reports whether this has not been told for a while.
func (r *refusals) first(what string, now time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for known, at := range r.told {
		if now-at >= refusalPause {
			delete(r.told, known)
		}
	}
	if _, known := r.told[what]; known || len(r.told) >= maxRefusals {
		return false
	}
	if r.told == nil {
		r.told = make(map[string]time.Duration)
	}
	r.told[what] = now
	return true
}

// NoteRefusal tells of a request that was refused, once a minute for each who
// asks for the same. Other errors are no news.
func (a *Agent) NoteRefusal(ctx context.Context, request string, err error) {
	var refusal *ha.Refusal
	if !errors.As(err, &refusal) {
		return
	}
	who := event.Actor(ctx)
	if a.refusals.first(who+"\x00"+request+"\x00"+refusal.Reason, a.cfg.Clock.Now().Mono) {
		a.tell.Note(ctx, event.Warn, "refusal", request+" was refused: "+refusal.Reason, map[string]any{"request": request})
	}
}

// NoteAccess tells who was let in, or was not; the latter once a minute for
// each text.
func (a *Agent) NoteAccess(ctx context.Context, granted bool, text string) {
	switch {
	case granted:
		a.tell.Note(ctx, event.Info, "access", text, nil)
	case a.refusals.first("access\x00"+text, a.cfg.Clock.Now().Mono):
		a.tell.Note(ctx, event.Warn, "access", text, nil)
	}
}
