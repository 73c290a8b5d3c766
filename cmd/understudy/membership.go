package main

import (
	"context"
	"errors"
	"slices"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
)

// alreadyMember reads the journal of a data folder that is one of the bucket's
// cluster, under this instance's name, and not removed from it; nil when it is
// not.
func alreadyMember(ctx context.Context, cfg agent.Config) (*ha.Journal, error) {
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
