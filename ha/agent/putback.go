package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
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
	back, err := a.bucket.putClusterBack(ctx, *cluster)
	switch {
	case ctx.Err() != nil, err != nil && unreachable(err) && !errors.Is(err, blobstore.ErrDenied): // the machine tells of a bucket that does not answer
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
	case errors.Is(err, ErrUnverified):
		a.trouble(ctx, objectKind, key, fmt.Sprintf("the lease in the bucket is damaged, and counts as none; a promotion writes another one: %v", err))
	case err == nil, errors.Is(err, blobstore.ErrNotFound):
		a.troubleOver(ctx, objectKind, key, "the lease in the bucket is not damaged any more")
	}
}

// putClusterBack writes cluster.json again where the bucket does not have it, or
// has something in its place that nobody has signed, and reports whether it did.
// What another cluster's key, or a later key of this one, has signed stays.
func (b *Bucket) putClusterBack(ctx context.Context, cluster ha.Cluster) (bool, error) {
	_, attrs, err := b.read(ctx, ha.KindCluster, ha.ClusterKey, "")
	cond := blobstore.IfAbsent()
	switch {
	case err == nil:
		return false, nil
	case errors.Is(err, seal.ErrUnknownKey), errors.Is(err, seal.ErrScope):
		return false, err
	case errors.Is(err, ErrUnverified):
		cond = blobstore.IfMatch(attrs.Token)
	case !errors.Is(err, blobstore.ErrNotFound):
		return false, err
	}
	why := err
	_, err = b.write(ctx, ha.KindCluster, ha.ClusterKey, cluster, cond)
	switch {
	case errors.Is(err, blobstore.ErrPrecondition):
		return false, nil // somebody else has just written it
	case err != nil:
		return false, fmt.Errorf("%w; %w", why, err)
	}
	return true, nil
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
	token, back, err := a.configs.putBack(ctx, digest, config, seen.token)
	a.objects.config = configToken{digest, token}
	switch {
	case ctx.Err() != nil, err != nil && unreachable(err) && !errors.Is(err, blobstore.ErrDenied): // the machine tells of a bucket that does not answer
	case err != nil:
		a.trouble(ctx, configKind, key, fmt.Sprintf("the shared configuration in the bucket cannot be looked at, or not be put back: %v", err))
	default:
		a.troubleOver(ctx, configKind, key, "the shared configuration is in the bucket")
		if back {
			a.note(ctx, event.Alarm, configKind, "the shared configuration was missing from the bucket, or damaged there, and was written again: who writes or deletes there?", nil)
		}
	}
}

// putBack writes the configuration in force, which is known here, where the
// bucket does not have it, and reports whether it did, and which version is right
// now. The version that was seen is not read again. What a key has signed that is not
// known here stays.
func (c *configs) putBack(ctx context.Context, digest string, config *ha.Config, seen blobstore.Token) (blobstore.Token, bool, error) {
	key := ha.ConfigKey(digest)
	_, attrs, err := c.bucket.read(ctx, ha.KindConfig, key, seen)
	cond := blobstore.IfAbsent()
	switch {
	case err == nil:
		return attrs.Token, false, nil
	case errors.Is(err, blobstore.ErrNotModified):
		return seen, false, nil
	case errors.Is(err, seal.ErrUnknownKey):
		return "", false, err
	case errors.Is(err, ErrUnverified):
		cond = blobstore.IfMatch(attrs.Token)
	case !errors.Is(err, blobstore.ErrNotFound):
		return "", false, err
	}
	payload, encodeErr := json.Marshal(config)
	if encodeErr != nil || digestOf(payload) != digest {
		return "", false, fmt.Errorf("%w (a later version wrote it: an instance of that version has to write it again)", err)
	}
	token, err := c.bucket.write(ctx, ha.KindConfig, key, config, cond)
	if errors.Is(err, blobstore.ErrPrecondition) {
		return "", false, nil // somebody else has just written it
	}
	return token, err == nil, err
}
