package agent

import (
	"context"
	"sync"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/upkeep"
)

// maxRecovered is of how many objects it is told that an earlier version was
// read: somebody who overwrites all of them is not to fill the log.
const maxRecovered = 100

// tellRecovered returns what warns, once for each object, that it is damaged or
// missing and an earlier version was read.
func (a *Agent) tellRecovered() func(context.Context, string, blobstore.Version) {
	var mu sync.Mutex
	told := make(map[string]bool)
	return func(ctx context.Context, key string, v blobstore.Version) {
		mu.Lock()
		known := told[key] || len(told) >= maxRecovered
		told[key] = true
		mu.Unlock()
		if !known {
			a.tell.Note(ctx, event.Warn, upkeep.RetentionKind, control.RecoveredText(key, v), map[string]any{"object": key, "version": v.ID})
		}
	}
}
