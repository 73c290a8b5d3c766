package source

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Connected is a source whose state others connect to, so that no look at files
// shows who uses it.
type Connected interface {
	// Sessions says who is connected to the live state, but for Understudy, for
	// people: a few of them. Where the state is a server of its own that is the server,
	// while it runs.
	Sessions(ctx context.Context) ([]string, error)
}

// Ended goes with a Swap or a SwapBack: it collects the sessions that these ended,
// for people.
type Ended struct {
	Sessions []string
	More     int // that are not named
}

// maxEnded is how many are named.
const maxEnded = 20

// String names them; "" for none.
func (e *Ended) String() string {
	text := strings.Join(e.Sessions, "; ")
	if e.More > 0 {
		text += fmt.Sprintf("; and %d more", e.More)
	}
	return text
}

// Add takes over sessions that were ended.
func (e *Ended) Add(sessions []string) {
	for _, session := range sessions {
		switch {
		case session == "" || slices.Contains(e.Sessions, session): // it takes its time to end
		case len(e.Sessions) < maxEnded:
			e.Sessions = append(e.Sessions, session)
		default:
			e.More++
		}
	}
}

type endedKey struct{}

// WithEnded returns a context whose Swap and SwapBack report to e.
func WithEnded(ctx context.Context, e *Ended) context.Context {
	return context.WithValue(ctx, endedKey{}, e)
}

// Snapshotter is a source whose dump holds a snapshot of a database, which is
// a burden to its server for as long as it lasts.
type Snapshotter interface {
	// SnapshotAge returns for how long a dump that is under way has held its
	// snapshot (0 when there is none), and for how long the last one held its
	// own (0 when none has ended in this process).
	SnapshotAge() (now, last time.Duration)
}

// EndedOf returns what collects the sessions that a swap ends; nil for nothing.
func EndedOf(ctx context.Context) *Ended {
	e, _ := ctx.Value(endedKey{}).(*Ended)
	return e
}
