package staging

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/restore"
)

// What a swap has replaced, and what is staged no longer, is set aside and
// deleted by one goroutine that nothing waits for.

// Intervals between two tries to delete what could not be deleted.
const (
	clearFirst = time.Minute // doubles up to clearMax
	clearMax   = time.Hour
)

// kindLeftover is the kind of the troubles and events about what cannot be
// deleted.
const kindLeftover = "discard"

// Leftovers deletes what was set aside. It is safe for concurrent use.
type Leftovers struct {
	sweep  func(ctx context.Context) ([]source.Leftover, error)
	log    LeftoverLog
	logger *slog.Logger
	aside  chan struct{} // something was set aside
}

// LeftoverLog is where it is told what cannot be deleted.
type LeftoverLog interface {
	Trouble(ctx context.Context, kind, key, text string)
	TroubleOver(ctx context.Context, kind, key, text string)
	TroubleKeys(kind string) []string
}

// NewLeftovers deletes by sweep, which returns what is left.
func NewLeftovers(sweep func(ctx context.Context) ([]source.Leftover, error), log LeftoverLog, logger *slog.Logger) *Leftovers {
	return &Leftovers{sweep: sweep, log: log, logger: logger, aside: make(chan struct{}, 1)}
}

// Soon has what was set aside deleted soon.
func (l *Leftovers) Soon() {
	select {
	case l.aside <- struct{}{}:
	default:
	}
}

// Run deletes what was set aside: when something was, when the process
// starts, and again and again while something cannot be deleted.
func (l *Leftovers) Run(ctx context.Context) error {
	l.Soon() // a crash may have left something
	var wait time.Duration
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.aside:
		case <-again:
		}
		if l.Clear(ctx) {
			wait, again = 0, nil
			continue
		}
		wait = min(max(clearFirst, 2*wait), clearMax)
		again = time.After(wait)
	}
}

// Clear deletes what was set aside, and reports whether all of it is gone. What
// is left is a trouble each until it is gone too.
func (l *Leftovers) Clear(ctx context.Context) bool {
	left, err := l.sweep(restore.Polite(ctx))
	if ctx.Err() != nil {
		return false
	}
	if err != nil { // a server that is down, which shows elsewhere
		l.logger.WarnContext(ctx, "what was set aside is not deleted yet", "error", err)
		return false
	}
	now := make(map[string]bool)
	for _, one := range left {
		now[one.Path] = true
		l.log.Trouble(ctx, kindLeftover, one.Path, describeLeftover(one))
	}
	for _, path := range l.log.TroubleKeys(kindLeftover) {
		if !now[path] {
			l.log.TroubleOver(ctx, kindLeftover, path, path+" is deleted")
		}
	}
	return len(left) == 0
}

// describeLeftover says what is left, why, and what to do.
func describeLeftover(l source.Leftover) string {
	size := ""
	if l.Bytes >= 0 {
		size = fmt.Sprintf(" (%s)", humanize.IBytes(uint64(l.Bytes)))
	}
	return fmt.Sprintf("%s%s is no longer needed and cannot be deleted: %s; it is tried again every hour at the latest, and in nobody's way: remove what keeps it, or delete it by hand", l.Path, size, l.Reason)
}
