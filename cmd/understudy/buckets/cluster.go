package buckets

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
)

// Reader reads the cluster in the bucket, without a word about this instance.
type Reader struct {
	Set   *settings.Host
	Log   *slog.Logger
	Tell  terminal.Printer
	Older *OlderHead
}

// Look opens the bucket and its cluster.
func (r Reader) Look(ctx context.Context) (*Store, *control.Store, error) {
	return r.LookAt(ctx, time.Time{})
}

// LookAt is Look, at the bucket as it was at a time unless that is zero. It says
// so where an earlier version of an object is read.
func (r Reader) LookAt(ctx context.Context, at time.Time) (*Store, *control.Store, error) {
	if err := r.Set.NeedBucket(); err != nil {
		return nil, nil, err
	}
	ring, err := r.Set.Ring()
	if err != nil {
		return nil, nil, err
	}
	store, err := OpenAt(ctx, r.Set, r.Log, at)
	if err != nil {
		return nil, nil, err
	}
	bucket, _, err := control.Open(ctx, control.Config{Store: store, Ring: ring})
	if err == nil {
		bucket.TellRecovered(func(_ context.Context, key string, v blobstore.Version) {
			r.Tell.Note("%s", control.RecoveredText(key, v))
		})
		if at.IsZero() {
			r.Compare(bucket)
		}
	}
	return store, bucket, err
}

// Compare has the heads that a command reads compared with what this host's
// instance has seen.
func (r Reader) Compare(bucket *control.Store) {
	journal, err := datadir.ReadJournal(r.Set.DataDir)
	switch {
	case errors.Is(err, fs.ErrPermission):
		r.Tell.Note("the data folder %s cannot be read by this user: it is not looked whether the bucket shows an older head than this host's instance has seen", r.Set.DataDir)
	case err != nil:
		r.Tell.Warn("this host's journal cannot be read, and nothing is compared with it: %v", err)
	case journal != nil && journal.Cluster == bucket.Cluster():
		bucket.CompareWith(journal.Seen, func(text string) error {
			r.Older.Tell(r.Tell, text)
			return nil
		})
	}
}
