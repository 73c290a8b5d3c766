package instance

import (
	"context"
	"errors"
	"slices"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
)

// Already reads the journal of a data folder that is one of the bucket's
// cluster, under this instance's name, and not removed from it; nil when it is
// not.
func Already(ctx context.Context, cfg agent.Config) (*ha.Journal, error) {
	j, err := datadir.ReadJournal(cfg.DataDir)
	if err != nil || j == nil || j.Instance != cfg.Instance {
		return nil, err
	}
	bucket, _, err := control.Open(ctx, control.Config{Store: cfg.Store, Ring: cfg.Ring})
	if err != nil || bucket.Cluster() != j.Cluster {
		return nil, err
	}
	record, err := bucket.Instance(ctx, j.Instance)
	switch {
	case errors.Is(err, blobstore.ErrNotFound) && j.Role == ha.RoleActive:
		return j, nil // it makes its record anew
	case errors.Is(err, blobstore.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case !slices.Contains(j.Incarnations, record.Incarnation):
		return nil, nil // another host has the name now
	}
	return j, nil
}

// Blockers lists what keeps this host from restoring a backup of its sources, and
// the newest one, if there is one.
func Blockers(ctx context.Context, cfg agent.Config, newest *backup.Manifest) []string {
	var why []string
	for _, s := range cfg.Sources {
		err := source.CheckRestore(ctx, s)
		if err == nil {
			err = accepts(ctx, s, newest)
		}
		if err != nil {
			why = append(why, err.Error())
		}
	}
	return why
}

// accepts tells whether a source can restore its part of a backup here.
func accepts(ctx context.Context, s source.Source, m *backup.Manifest) error {
	if m == nil {
		return nil
	}
	for _, e := range m.Sources {
		if e.Name == s.Name() && e.Kind == s.Kind() {
			return s.Accept(ctx, e)
		}
	}
	return nil
}
