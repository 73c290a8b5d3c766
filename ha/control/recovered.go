package control

import (
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

// RecoveredText says that an earlier version of an object was read.
func RecoveredText(key string, v blobstore.Version) string {
	return fmt.Sprintf("%s is damaged in the bucket, or missing: somebody overwrote or deleted it; its version of %s is right and was read instead, and goes when the rule for earlier versions says: find out who writes to the bucket",
		key, v.Time.UTC().Format(time.RFC3339))
}
