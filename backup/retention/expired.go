package retention

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

// Expired lists what is to be deleted from the folders (of Folders, in that
// order) because it has outlived the retention at time now, by the store's
// clock. It is for a bucket that does not delete by rules; keys that spare has
// are not listed. A failure is yielded as an error, which is the last pair.
func Expired(ctx context.Context, store blobstore.Store, p Policy, folders []string, now time.Time, spare map[string]bool) iter.Seq2[blobstore.Attrs, error] {
	return func(yield func(blobstore.Attrs, error) bool) {
		for _, folder := range folders {
			oldest := now.Add(-p.Life(folder))
			for attrs, err := range store.List(ctx, folder, "") {
				if err != nil {
					yield(attrs, fmt.Errorf("list %s: %w", folder, err))
					return
				}
				if attrs.Time.After(oldest) || attrs.Time.IsZero() || spare[attrs.Key] {
					continue
				}
				if !yield(attrs, nil) {
					return
				}
			}
		}
	}
}
