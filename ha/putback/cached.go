package putback

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
)

// returnLost puts back what this instance has and the bucket lacks, and finds the
// newest backup that the bucket has whole then.
func (r *Recovery) returnLost(ctx context.Context, at *attempt) error {
	if at.config != nil {
		_, err := r.host.Control.Write(ctx, ha.KindConfig, ha.ConfigKey(at.ask.Config), at.config, blobstore.IfAbsent())
		if err != nil && !errors.Is(err, blobstore.ErrPrecondition) {
			return err
		}
	}
	seen := r.host.View().Older
	if seen == nil {
		return nil // the head is read again by whoever asked
	}
	candidates := slices.Clone(at.back)
	for _, ref := range at.back {
		if err := r.returnBackup(ctx, ref); err != nil {
			r.host.Log.Note(ctx, event.Warn, recoveryKind, fmt.Sprintf("the cached backup %s cannot be put back: %v", ref.ID, err), nil)
			candidates = slices.DeleteFunc(candidates, func(c backup.Ref) bool { return c.ID == ref.ID })
		}
	}
	if newest := seen.Seen.Newest; newest != nil && newest.ID == at.Newest {
		candidates = slices.Insert(candidates, 0, *newest)
	}
	for _, ref := range candidates {
		if (seen.Head.Newest == nil || control.After(ref, *seen.Head.Newest)) && r.isWhole(ctx, ref) {
			at.ask.Newest, at.Newest = &ref, ref.ID
			return nil
		}
	}
	at.Newest = control.IDOf(seen.Head.Newest)
	return nil
}

const recoveryKind = "recovery"

// Turn puts back, after a recovery, the backups that this instance has cached
// and the bucket lacks: the instance on which it was asked for may not have had them.
// It returns when to look again.
func (r *Recovery) Turn(ctx context.Context) time.Duration {
	core := r.host.View()
	h := core.Head
	if h == nil || h.Recovery == nil || h.Recovery.Epoch != h.Epoch || h.Recovery.Nonce == r.done || core.Older != nil {
		return returnPause
	}
	n, err := r.returnCached(ctx)
	switch {
	case ctx.Err() != nil:
		return returnPause
	case err != nil:
		r.host.Log.Trouble(ctx, recoveryKind, "return", fmt.Sprintf("the bucket was put back to an earlier state, and what this instance has cached of what it lacks cannot be put back (tried again): %v", err))
		return returnAgain
	}
	r.host.Log.TroubleOver(ctx, recoveryKind, "return", "what this instance has cached of what the bucket lacked is put back")
	if r.done = h.Recovery.Nonce; n > 0 {
		r.host.Log.Note(ctx, event.Warn, recoveryKind, fmt.Sprintf("%d backups that the bucket lacked were put back from this instance's cache", n), nil)
	}
	return returnPause
}

const (
	returnPause = 2 * time.Second // between two looks whether there was a recovery
	returnAgain = time.Minute     // after a failure
)

// returnCached puts back the cached backups that the bucket lacks.
func (r *Recovery) returnCached(ctx context.Context) (n int, err error) {
	for _, ref := range r.host.Cached() {
		_, missing := r.host.Store.Stat(ctx, ref.Key)
		if !errors.Is(missing, blobstore.ErrNotFound) {
			err = errors.Join(err, missing)
			continue
		}
		if one := r.returnBackup(ctx, ref); one != nil {
			err = errors.Join(err, fmt.Errorf("backup %s: %w", ref.ID, one))
			continue
		}
		n++
	}
	return n, err
}

// isWhole reports whether the bucket has all that a backup needs.
func (r *Recovery) isWhole(ctx context.Context, ref backup.Ref) bool {
	m, err := r.host.Repo.Load(ctx, ref)
	if err != nil {
		return false
	}
	_, index, err := r.host.Repo.Open(ctx, m, r.host.Repo.BucketPacks())
	if err != nil {
		return false
	}
	missing, err := r.host.Repo.Missing(ctx, index.Packs())
	return err == nil && len(missing) == 0
}

// returnBackup puts a cached backup into the bucket: the packs that are missing
// there, and then its manifest.
func (r *Recovery) returnBackup(ctx context.Context, ref backup.Ref) (err error) {
	release, err := r.host.Cache.Hold(ref.ID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	m, signed, err := r.host.Cache.Signed(r.host.Repo, ref)
	if err != nil {
		return err
	}
	_, index, err := r.host.Repo.Open(ctx, m, r.host.Cache)
	if err != nil {
		return err
	}
	missing, err := r.host.Repo.Missing(ctx, index.Packs())
	if err != nil {
		return err
	}
	for _, p := range missing {
		if _, err := r.host.Packs.PutBack(ctx, p); err != nil {
			return err
		}
	}
	_, err = r.host.Control.Put(ctx, ref.Key, signed, blobstore.IfAbsent().Locked(r.host.Lock()))
	if errors.Is(err, blobstore.ErrPrecondition) {
		return nil // it is there
	}
	return err
}
