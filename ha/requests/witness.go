package requests

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/event"
)

// Witness tells who was refused what, and who was let in. It remembers which refusals were
// told lately: an application that asks a standby for a backup every second must not fill
// the log. It is safe for concurrent use.
type Witness struct {
	clock clock.Clock
	notes Notes

	mu   sync.Mutex
	told map[string]time.Duration // monotonic
}

// NewWitness has told nothing yet.
func NewWitness(c clock.Clock, n Notes) *Witness { return &Witness{clock: c, notes: n} }

const (
	refusalPause = time.Minute // between two events about the same
	maxRefusals  = 64          // remembered
)

// first reports whether this has not been told for a while.
func (w *Witness) first(what string, now time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for known, at := range w.told {
		if now-at >= refusalPause {
			delete(w.told, known)
		}
	}
	if _, known := w.told[what]; known || len(w.told) >= maxRefusals {
		return false
	}
	if w.told == nil {
		w.told = make(map[string]time.Duration)
	}
	w.told[what] = now
	return true
}

// NoteRefusal tells of a request that was refused, once a minute for each who
// asks for the same. Other errors are no news.
func (w *Witness) NoteRefusal(ctx context.Context, request string, err error) {
	var refusal *ha.Refusal
	if !errors.As(err, &refusal) {
		return
	}
	who := event.Actor(ctx)
	if w.first(who+"\x00"+request+"\x00"+refusal.Reason, w.clock.Now().Mono) {
		w.notes.Note(ctx, event.Warn, "refusal", request+" was refused: "+refusal.Reason, map[string]any{"request": request})
	}
}

// NoteAccess tells who was let in, or was not; the latter once a minute for
// each text.
func (w *Witness) NoteAccess(ctx context.Context, granted bool, text string) {
	switch {
	case granted:
		w.notes.Note(ctx, event.Info, "access", text, nil)
	case w.first("access\x00"+text, w.clock.Now().Mono):
		w.notes.Note(ctx, event.Warn, "access", text, nil)
	}
}
