package backups

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/moments"
	"github.com/understudy-ha/understudy/restore"
)

// Moments are the moments that the sources of the cluster in the bucket can be brought to.
type Moments struct {
	*moments.Moments
	bucket *control.Store
}

// Moments looks in the bucket for them.
func (f *Finder) Moments(ctx context.Context) (*Moments, error) {
	store, bucket, err := f.Buckets.Look(ctx)
	if err != nil {
		return nil, err
	}
	ring, err := f.Set.Ring()
	if err != nil {
		return nil, err
	}
	streams, err := stream.Open(stream.Config{Store: store, Ring: ring, Cluster: bucket.Cluster(), Now: time.Now})
	if err != nil {
		return nil, err
	}
	found, err := moments.Find(ctx, bucket.Chain(), streams)
	if err != nil {
		return nil, err
	}
	return &Moments{Moments: found, bucket: bucket}, nil
}

// Restored is one source's part of a moment that was restored.
type Restored struct {
	moments.Item
	Reached *source.Reached // nil: it is as in the backup
}

// Export writes the sources into a folder, as they were at a moment.
func (m *Moments) Export(ctx context.Context, at time.Time, dir string, progress func(backup.Progress)) ([]Restored, error) {
	is, err := m.At(ctx, at)
	if ha.IsRefusal(err) {
		err = exit.With(exit.ErrRefused, err)
	}
	if err != nil {
		return nil, err
	}
	open, parts := moments.Once(m.open), make([]restore.Part, len(is.Items))
	for i, item := range is.Items {
		if parts[i], err = m.Part(ctx, item, at, open); err != nil {
			return nil, err
		}
	}
	reached, err := restore.ExportMoment(ctx, parts, dir, progress)
	if err != nil {
		return nil, err
	}
	all := make([]Restored, len(is.Items))
	for i, item := range is.Items {
		all[i] = Restored{Item: item}
		if is, ok := reached[item.Entry.Name]; ok {
			all[i].Reached = &is
		}
	}
	return all, nil
}

// open opens a backup in the bucket.
func (m *Moments) open(ctx context.Context, ref backup.Ref) (*pack.Reader, error) {
	repo := m.bucket.Repository()
	manifest, err := repo.Load(ctx, ref)
	if err != nil {
		return nil, err
	}
	reader, _, err := repo.Open(ctx, manifest, repo.BucketPacks())
	if err != nil {
		return nil, fmt.Errorf("open backup %s: %w", ref.ID, err)
	}
	return reader, nil
}
