package retention

import (
	"context"
	"fmt"
	"iter"
	"path"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
)

// Expired lists what is to be deleted from the folders (of Folders, in that
// order) because it has outlived the retention at time now, by the store's
// clock. It is for a bucket that does not delete by rules; keys that spare has
// are not listed. A failure is yielded as an error, which is the last pair.
func Expired(ctx context.Context, store blobstore.Store, p Policy, folders []string, now time.Time, spare map[string]bool) iter.Seq2[blobstore.Attrs, error] {
	return func(yield func(blobstore.Attrs, error) bool) {
		for _, folder := range folders {
			oldest, list := now.Add(-p.Life(folder)), store.List(ctx, folder, "")
			if folder == Streams {
				list = oldParts(ctx, store, oldest)
			}
			for attrs, err := range list {
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

// oldParts lists each stream up to its first part that is younger than a time: there may
// be a million behind it, and none is older.
func oldParts(ctx context.Context, store blobstore.Store, oldest time.Time) iter.Seq2[blobstore.Attrs, error] {
	return func(yield func(blobstore.Attrs, error) bool) {
		after := ""
		for more := true; more; {
			more = false
			for attrs, err := range store.List(ctx, Streams, after) {
				if !yield(attrs, err) || err != nil {
					return
				}
				if attrs.Time.After(oldest) && strings.Count(attrs.Key, "/") == strings.Count(stream.Key("", stream.ID{}, 0), "/") {
					after, more = path.Dir(attrs.Key)+"/~", true // behind all parts of this stream
					break
				}
			}
		}
	}
}
