// Package buckets opens the bucket that the settings name, and the cluster in it: for
// commands that need no agent. It alone chooses a provider.
package buckets

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/azstore"
	"github.com/understudy-ha/understudy/blobstore/filestore"
	"github.com/understudy-ha/understudy/blobstore/gcsstore"
	"github.com/understudy-ha/understudy/blobstore/miniostore"
	"github.com/understudy-ha/understudy/blobstore/s3store"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
)

// Providers are the stores that this program can open.
var Providers = blobstore.Mux{
	azstore.Scheme:    azstore.Open,
	"file":            filestore.Open,
	gcsstore.Scheme:   gcsstore.Open,
	miniostore.Scheme: miniostore.Open,
	s3store.Scheme:    s3store.Open,
}

// Store is the bucket, within the limits that are set for it.
type Store struct {
	blobstore.Store
	Lifecycle blobstore.Lifecycle // nil: the store has no rules that can be read here
}

// Unwrap implements blobstore.Wrapper.
func (b *Store) Unwrap() blobstore.Store { return b.Store }

// Open opens the bucket that the settings name, within their limits. A
// read, a list or an unconditional write that failed for the moment is tried
// again; a conditional write never is. When access is denied, credentials are
// read again.
func Open(ctx context.Context, s *settings.Host, log *slog.Logger) (*Store, error) {
	return OpenAt(ctx, s, log, time.Time{})
}

// OpenAt is Open, of the bucket as it was at a time unless that is
// zero.
func OpenAt(ctx context.Context, s *settings.Host, log *slog.Logger, at time.Time) (*Store, error) {
	if err := s.NeedBucket(); err != nil {
		return nil, err
	}
	store, err := blobstore.Reopen(ctx, func(ctx context.Context) (blobstore.Store, error) { return Providers.Open(ctx, s.Bucket) }, blobstore.ReopenOptions{})
	if err != nil {
		// The URL is wrong, unless the store itself was asked something.
		if e := (*blobstore.Error)(nil); errors.As(err, &e) {
			return nil, err
		}
		return nil, exit.Usagef("%w", err)
	}
	if !at.IsZero() {
		if store, err = blobstore.AsOf(ctx, store, at); err != nil {
			return nil, exit.With(exit.ErrBucket, fmt.Errorf("read the bucket as it was at %s: %w", terminal.Stamp(at), err))
		}
	}
	lifecycle, _ := store.(blobstore.Lifecycle) // which what follows would hide
	store = blobstore.Retry(store, blobstore.RetryOptions{Notify: func(err error, pause time.Duration) {
		log.DebugContext(ctx, "the bucket failed, and is tried again", slog.Any("error", err), slog.Duration("pause", pause))
	}})
	// Packs are the bulk of the data. Control objects and manifests are small,
	// and must never wait behind it: a heartbeat that comes too late costs the
	// active its role.
	store = blobstore.Limit(store, blobstore.LimitOptions{Prefix: retention.Packs, Upload: s.UploadLimit, Download: s.DownloadLimit})
	return &Store{Store: store, Lifecycle: lifecycle}, nil
}
