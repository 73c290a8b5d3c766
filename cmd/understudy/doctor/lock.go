package doctor

import (
	"context"
	"fmt"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/control"
)

// defaultLockFindings compares the bucket's default retention, which locks what is
// written without a lock of its own, with the locks that the cluster sets. bucket is
// nil while there is no cluster, or no key.
func defaultLockFindings(ctx context.Context, store blobstore.Store, bucket *control.Store) []Finding {
	const name = "default lock"
	rule, ok := blobstore.As[blobstore.DefaultLock](store)
	if !ok {
		return nil
	}
	mode, length, err := rule.DefaultLock(ctx)
	switch {
	case err != nil:
		return []Finding{{Name: name, Result: Warning, Detail: fmt.Sprintf("whether the bucket has a default retention cannot be read: %v", err)}}
	case mode == blobstore.NoLock:
		return nil
	}
	text := fmt.Sprintf("the bucket's default retention locks whatever is written without a lock of its own for %s (%s): the head too, of which a version is written with every poll, and no rule deletes one before that", terminal.Days(length), mode)
	if bucket == nil {
		return []Finding{{Name: name, Result: Warning, Detail: text}}
	}
	promise, err := bucket.Promise(ctx)
	if err != nil {
		return []Finding{{Name: name, Result: Warning, Detail: fmt.Sprintf("%s; how long Understudy locks backups cannot be found out: %v", text, err)}}
	}
	manifests, packs := promise.Rules.ManifestLife(), promise.Rules.PackLife()
	own := fmt.Sprintf("Understudy locks manifests for %s and packs for %s itself, whatever the default is, unless the bucket's URL says lock=off", terminal.Days(manifests), terminal.Days(packs))
	switch {
	case length < manifests:
		return []Finding{{Name: name, Result: Warning, Detail: fmt.Sprintf("%s. It is shorter than backups live: %s, and with lock=off backups are locked for too short", text, own)}}
	case length > packs:
		return []Finding{{Name: name, Result: Warning, Detail: fmt.Sprintf("%s. It is longer than anything of a backup lives: %s; take the default retention away, and the bucket grows no larger than it must", text, own)}}
	}
	return []Finding{{Name: name, Result: Good, Detail: fmt.Sprintf("%s. %s", text, own)}}
}
