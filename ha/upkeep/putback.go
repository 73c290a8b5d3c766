package upkeep

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
)

// lookForCluster says that cluster.json, without which no agent starts, is damaged or
// missing, and writes it again.
func (o *Objects) lookForCluster(ctx context.Context) {
	const key = "cluster"
	cluster, core := o.cluster.Load(), o.host.Cluster.View()
	if cluster == nil || core.Head == nil || core.Bucket != "ok" {
		return // the bucket itself is in doubt
	}
	back, err := o.host.Control.PutClusterBack(ctx, *cluster)
	switch {
	case ctx.Err() != nil, err != nil && control.Unreachable(err) && !errors.Is(err, blobstore.ErrDenied): // the machine tells of a bucket that does not answer
	case err != nil:
		o.host.Log.Trouble(ctx, ObjectKind, key, fmt.Sprintf("%s in the bucket is damaged or missing, and cannot be written again: %v. This agent goes on with what it remembers; no other agent or command starts without it", ha.ClusterKey, err))
	default:
		if back {
			o.host.Log.Note(ctx, event.Alarm, ObjectKind, ha.ClusterKey+" was missing from the bucket, or damaged there, and was written again: who writes or deletes there?", nil)
			o.unlearn(map[string]bool{ha.ClusterKey: true})
		}
		o.host.Log.TroubleOver(ctx, ObjectKind, key, ha.ClusterKey+" is in the bucket")
	}
}

// TellLease says that the lease is damaged, for as long as it is.
func (o *Objects) TellLease(ctx context.Context, err error) {
	const key = "lease"
	switch {
	case errors.Is(err, control.ErrUnverified):
		o.host.Log.Trouble(ctx, ObjectKind, key, fmt.Sprintf("the lease in the bucket is damaged, and counts as none; a promotion writes another one: %v", err))
	case err == nil, errors.Is(err, blobstore.ErrNotFound):
		o.host.Log.TroubleOver(ctx, ObjectKind, key, "the lease in the bucket is not damaged any more")
	}
}

// lookForConfig writes the shared configuration again if the bucket lacks it, or
// has it damaged.
func (o *Objects) lookForConfig(ctx context.Context) {
	const key = "look"
	h := o.host.Cluster.View().Head
	digest, config := o.host.Cluster.Config()
	if h == nil || config == nil || digest != h.Config {
		return
	}
	seen := o.config
	if seen.digest != digest {
		seen = configToken{digest: digest}
	}
	token, back, err := o.host.Control.PutConfigBack(ctx, digest, config, seen.token)
	o.config = configToken{digest, token}
	switch {
	case ctx.Err() != nil, err != nil && control.Unreachable(err) && !errors.Is(err, blobstore.ErrDenied): // the machine tells of a bucket that does not answer
	case err != nil:
		o.host.Log.Trouble(ctx, ConfigKind, key, fmt.Sprintf("the shared configuration in the bucket cannot be looked at, or not be put back: %v", err))
	default:
		o.host.Log.TroubleOver(ctx, ConfigKind, key, "the shared configuration is in the bucket")
		if back {
			o.host.Log.Note(ctx, event.Alarm, ConfigKind, "the shared configuration was missing from the bucket, or damaged there, and was written again: who writes or deletes there?", nil)
		}
	}
}
