package buckets

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/upkeep"
)

// FirstRules gives the bucket of a new cluster its rules. It says who deletes
// what has expired from now on, and in a sentence why and when.
func FirstRules(ctx context.Context, lifecycle blobstore.Lifecycle, r retention.Policy) (by, text string) {
	ages := fmt.Sprintf("backups after %s, their packs after %s", terminal.Days(r.ManifestLife()), terminal.Days(r.PackLife()))
	var inForce []blobstore.Rule
	err := blobstore.ErrNoRules
	if lifecycle != nil {
		inForce, err = ApplyRules(ctx, lifecycle, r)
	}
	standing := r.Under(inForce)
	switch {
	case errors.Is(err, blobstore.ErrNoRules):
		return upkeep.AppliedByAgent, "This store deletes nothing by itself: the active does it, " + ages + ". It needs the permission to list and delete."
	case err != nil:
		return upkeep.AppliedByAgent, fmt.Sprintf("THE BUCKET DELETES NOTHING BY ITSELF: its lifecycle rules could not be set (%v).\nUntil understudy lifecycle apply succeeds the active deletes what has expired, %s;\nit needs the permission to list and delete.", err, ages)
	case len(standing.Problems) > 0 || len(control.Threats(inForce)) > 0:
		return upkeep.AppliedByBucket, "THE BUCKET HAS RULES THAT DELETE TOO SOON: see understudy lifecycle show."
	}
	return upkeep.AppliedByBucket, "The bucket's own rules delete what has expired: " + ages + "."
}

// ApplyRules sets the rules of a retention and reads them back. That they are
// not there then is ErrRulesLost.
func ApplyRules(ctx context.Context, lifecycle blobstore.Lifecycle, r retention.Policy) ([]blobstore.Rule, error) {
	wanted := control.Rules(r)
	if err := lifecycle.SetRules(ctx, wanted); err != nil {
		return nil, err
	}
	inForce, err := lifecycle.Rules(ctx)
	if err == nil && retention.Lost(wanted, inForce) {
		err = blobstore.ErrRulesLost
	}
	return inForce, err
}
