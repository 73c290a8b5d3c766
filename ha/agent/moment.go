package agent

import (
	"context"
	"fmt"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/moments"
	"github.com/understudy-ha/understudy/restore"
)

// restored stages a backup, or a moment, for a promotion.
func (a *Agent) restored(ctx context.Context, e ha.Stage) ha.Done {
	if e.Moment == nil {
		return noted(a.stage.Restore(ctx, e.Ref, e.AllowFailed, e.Ends))
	}
	parts, err := a.momentParts(ctx, e)
	if err != nil {
		return failed(err)
	}
	return noted(a.stage.RestoreMoment(ctx, e.Ref, e.AllowFailed, parts))
}

// momentParts looks again what a moment is made of: the streams have ended since it was
// chosen.
func (a *Agent) momentParts(ctx context.Context, e ha.Stage) (map[string]restore.Part, error) {
	all, err := a.catalogue.Moments(ctx)
	if err != nil {
		return nil, err
	}
	is, err := all.At(ctx, *e.Moment)
	if err != nil {
		return nil, err
	}
	if is.Backup.ID != e.Ref.ID {
		return nil, fmt.Errorf("the newest backup that is not later than %s is %s by now: look again", ha.MomentText(*e.Moment), is.Backup.ID)
	}
	open, parts := moments.Once(a.openBackup), make(map[string]restore.Part)
	for _, item := range is.Items {
		if item.Window == nil {
			continue // it is in the cache
		}
		if parts[item.Entry.Name], err = all.Part(ctx, item, *e.Moment, open); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// openBackup opens a backup in the bucket that a moment has something of.
func (a *Agent) openBackup(ctx context.Context, ref backup.Ref) (*pack.Reader, error) {
	m, err := a.chain.Manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	repo := a.repo.Current()
	reader, _, err := repo.Open(ctx, m, repo.BucketPacks())
	if err != nil {
		return nil, fmt.Errorf("open backup %s: %w", ref.ID, err)
	}
	return reader, nil
}
