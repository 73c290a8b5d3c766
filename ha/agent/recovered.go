package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha/event"
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
			a.note(ctx, event.Warn, retentionKind, RecoveredText(key, v), map[string]any{"object": key, "version": v.ID})
		}
	}
}

// RecoveredText says that an earlier version of an object was read.
func RecoveredText(key string, v blobstore.Version) string {
	return fmt.Sprintf("%s is damaged in the bucket, or missing: somebody overwrote or deleted it; its version of %s is right and was read instead, and goes when the rule for earlier versions says: find out who writes to the bucket",
		key, v.Time.UTC().Format(time.RFC3339))
}
