package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
)

// An agent keeps in memory what it has verified, and asks the bucket no more. So
// it looks, once an hour, whether the bucket still has the shared configuration,
// without which a new instance can neither follow nor lead, and, on the active,
// the newest backup's manifest.

const configKind = "config"

// lookForConfig writes the shared configuration again if the bucket lacks it, or
// has it damaged.
func (a *Agent) lookForConfig(ctx context.Context) {
	const key = "look"
	h := a.view().Head
	digest, config := a.configs.current()
	if h == nil || config == nil || digest != h.Config {
		return
	}
	back, err := a.configs.putBack(ctx, digest, config)
	switch {
	case ctx.Err() != nil:
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
// bucket does not have it, and reports whether it did.
func (c *configs) putBack(ctx context.Context, digest string, config *ha.Config) (bool, error) {
	key := ha.ConfigKey(digest)
	_, attrs, err := c.bucket.read(ctx, ha.KindConfig, key, "")
	cond := blobstore.IfAbsent()
	switch {
	case err == nil:
		return false, nil
	case errors.Is(err, ErrUnverified):
		cond = blobstore.IfMatch(attrs.Token)
	case !errors.Is(err, blobstore.ErrNotFound):
		return false, err
	}
	payload, encodeErr := json.Marshal(config)
	if encodeErr != nil || digestOf(payload) != digest {
		return false, fmt.Errorf("%w (a later version wrote it: an instance of that version has to write it again)", err)
	}
	_, err = c.bucket.write(ctx, ha.KindConfig, key, config, cond)
	if errors.Is(err, blobstore.ErrPrecondition) {
		return false, nil // somebody else has just written it
	}
	return err == nil, err
}

// lookForManifest has a backup made when the newest one's manifest is missing
// from the bucket, or damaged there.
func (a *Agent) lookForManifest(ctx context.Context) {
	const key = "manifest"
	h := a.view().Head
	if h == nil || h.Newest == nil {
		return
	}
	_, err := a.repo.Current().Load(ctx, *h.Newest)
	a.packs.setUnlisted(err != nil)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		a.troubleOver(ctx, packsKind, key, "the manifest of the newest backup is in the bucket")
	case !backup.Damaged(err) && !errors.Is(err, blobstore.ErrNotFound):
		a.trouble(ctx, packsKind, key, fmt.Sprintf("it cannot be looked whether the manifest of the newest backup is in the bucket: %v", err))
	default:
		a.trouble(ctx, packsKind, key, fmt.Sprintf("the manifest of the newest backup, %s, is missing from the bucket, or damaged there: %v. A backup is made in its place. Find out who writes or deletes there", h.Newest.ID, err))
		if err := a.BackupSoon(event.WithActor(ctx, "understudy"), backup.Task, "the newest backup's manifest is damaged"); err != nil {
			a.note(ctx, event.Warn, packsKind, fmt.Sprintf("no backup could be asked for in place of the newest one: %v", err), nil)
		}
	}
}
