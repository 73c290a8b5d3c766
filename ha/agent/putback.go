package agent

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
func (a *Agent) lookForCluster(ctx context.Context) {
	const key = "cluster"
	cluster, core := a.objects.cluster.Load(), a.view()
	if cluster == nil || core.Head == nil || core.Bucket != "ok" {
		return // the bucket itself is in doubt
	}
	back, err := a.control.PutClusterBack(ctx, *cluster)
	switch {
	case ctx.Err() != nil, err != nil && control.Unreachable(err) && !errors.Is(err, blobstore.ErrDenied): // the machine tells of a bucket that does not answer
	case err != nil:
		a.trouble(ctx, objectKind, key, fmt.Sprintf("%s in the bucket is damaged or missing, and cannot be written again: %v. This agent goes on with what it remembers; no other agent or command starts without it", ha.ClusterKey, err))
	default:
		if back {
			a.note(ctx, event.Alarm, objectKind, ha.ClusterKey+" was missing from the bucket, or damaged there, and was written again: who writes or deletes there?", nil)
			a.unlearn(map[string]bool{ha.ClusterKey: true})
		}
		a.troubleOver(ctx, objectKind, key, ha.ClusterKey+" is in the bucket")
	}
}

// tellLease says that the lease is damaged, for as long as it is.
func (a *Agent) tellLease(ctx context.Context, err error) {
	const key = "lease"
	switch {
	case errors.Is(err, control.ErrUnverified):
		a.trouble(ctx, objectKind, key, fmt.Sprintf("the lease in the bucket is damaged, and counts as none; a promotion writes another one: %v", err))
	case err == nil, errors.Is(err, blobstore.ErrNotFound):
		a.troubleOver(ctx, objectKind, key, "the lease in the bucket is not damaged any more")
	}
}

// lookForConfig writes the shared configuration again if the bucket lacks it, or
// has it damaged.
func (a *Agent) lookForConfig(ctx context.Context) {
	const key = "look"
	h := a.view().Head
	digest, config := a.configs.current()
	if h == nil || config == nil || digest != h.Config {
		return
	}
	seen := a.objects.config
	if seen.digest != digest {
		seen = configToken{digest: digest}
	}
	token, back, err := a.control.PutConfigBack(ctx, digest, config, seen.token)
	a.objects.config = configToken{digest, token}
	switch {
	case ctx.Err() != nil, err != nil && control.Unreachable(err) && !errors.Is(err, blobstore.ErrDenied): // the machine tells of a bucket that does not answer
	case err != nil:
		a.trouble(ctx, configKind, key, fmt.Sprintf("the shared configuration in the bucket cannot be looked at, or not be put back: %v", err))
	default:
		a.troubleOver(ctx, configKind, key, "the shared configuration is in the bucket")
		if back {
			a.note(ctx, event.Alarm, configKind, "the shared configuration was missing from the bucket, or damaged there, and was written again: who writes or deletes there?", nil)
		}
	}
}
