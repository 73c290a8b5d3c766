package agent

import (
	"context"
	"fmt"
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

// setAside has what was set aside deleted soon.
func (a *Agent) setAside() {
	select {
	case a.aside <- struct{}{}:
	default:
	}
}

// keepCleared deletes what was set aside: when something was, when the process
// starts, and again and again while something cannot be deleted.
func (a *Agent) keepCleared(ctx context.Context) error {
	a.setAside() // a crash may have left something
	var wait time.Duration
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.aside:
		case <-again:
		}
		if a.clear(ctx) {
			wait, again = 0, nil
			continue
		}
		wait = min(max(clearFirst, 2*wait), clearMax)
		again = time.After(wait)
	}
}

// clear deletes what was set aside, and reports whether all of it is gone. What
// is left is a trouble each until it is gone too.
func (a *Agent) clear(ctx context.Context) bool {
	left, err := a.swap().Sweep(restore.Polite(ctx))
	if ctx.Err() != nil {
		return false
	}
	if err != nil { // a server that is down, which shows elsewhere
		a.cfg.Logger.WarnContext(ctx, "what was set aside is not deleted yet", "error", err)
		return false
	}
	now := make(map[string]bool)
	for _, l := range left {
		now[l.Path] = true
		a.tell.Trouble(ctx, kindLeftover, l.Path, describeLeftover(l))
	}
	for _, path := range a.tell.TroubleKeys(kindLeftover) {
		if !now[path] {
			a.tell.TroubleOver(ctx, kindLeftover, path, path+" is deleted")
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
