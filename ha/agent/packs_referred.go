package agent

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// A pack was new in one backup, and the ones after it share it. So what all
// backups of a chain need is what was new in each, and what the oldest found. The
// chain is read backwards once, some manifests a look, and from then on only what
// has come since.

// referredMost is how many manifests one look reads.
const referredMost = 500

// referred are the packs that the backups of the present chain refer to, as far as
// the chain was read. It belongs to the goroutine that looks after the packs.
type referred struct {
	new  map[string][]pack.Info // of a backup's id: the packs that were new in it
	refs map[string]backup.Ref  // those backups
	next *backup.Ref            // where the reading goes on; nil: it has come to the end
}

// read reads of the backups that have come since it last did, and goes on with the
// older ones. What is older than oldest is forgotten.
func (r *referred) read(ctx context.Context, a *Agent, newest backup.Ref, oldest time.Time) error {
	if r.new == nil {
		r.new, r.refs, r.next = map[string][]pack.Info{}, map[string]backup.Ref{}, &newest
	}
	left := referredMost
	since, err := r.follow(ctx, a, &newest, oldest, &left)
	if err != nil || since != nil { // so many at once are new: what is older is read again
		r.next = since
		return err
	}
	r.next, err = r.follow(ctx, a, r.next, oldest, &left)
	for id, ref := range r.refs {
		if ref.Time.Before(oldest) && id != newest.ID {
			delete(r.refs, id)
			delete(r.new, id)
		}
	}
	return err
}

// follow reads backwards from ref to what is known, or to the end of the chain, and
// returns where it goes on when it has read enough.
func (r *referred) follow(ctx context.Context, a *Agent, ref *backup.Ref, oldest time.Time, left *int) (*backup.Ref, error) {
	for first := true; ref != nil && (first || !ref.Time.Before(oldest)); first = false {
		if _, known := r.new[ref.ID]; known {
			return nil, nil
		}
		if *left == 0 {
			return ref, nil
		}
		*left--
		m, err := a.history.get(ctx, *ref)
		if errors.Is(err, blobstore.ErrNotFound) || unusable(err) {
			return nil, nil // it is told where backups are listed
		}
		if err != nil {
			return ref, err
		}
		packs, err := a.newIn(ctx, m)
		if err != nil {
			return ref, err
		}
		r.new[ref.ID], r.refs[ref.ID] = packs, *ref
		ref = m.Previous
	}
	return nil, nil
}

// newIn are the packs that were new in a backup. A manifest that does not list
// them has many: then all that it needs count.
func (a *Agent) newIn(ctx context.Context, m *backup.Manifest) ([]pack.Info, error) {
	if len(m.NewPacks) > 0 || m.Size.Stored == 0 {
		return m.Named(), nil
	}
	_, index, err := a.repo.Open(ctx, m, a.cache.Through(a.repo))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, pack.ErrCorrupt):
		return m.Named(), nil
	case err != nil:
		return nil, err
	}
	return index.Packs(), nil
}

// packs are those that were read of, each once, with more.
func (r *referred) packs(more []pack.Info) []pack.Info {
	seen := make(map[pack.Digest]pack.Info)
	add := func(p pack.Info) {
		if known, ok := seen[p.Digest]; !ok || known.Size == 0 {
			seen[p.Digest] = p
		}
	}
	for _, p := range more {
		add(p)
	}
	for _, packs := range r.new {
		for _, p := range packs {
			add(p)
		}
	}
	all := make([]pack.Info, 0, len(seen))
	for _, p := range seen {
		all = append(all, p)
	}
	return all
}

// oldestKept is from when on backups are kept.
func (a *Agent) oldestKept(ctx context.Context, h *ha.Head) time.Time {
	c, err := a.configs.get(ctx, h.Config)
	if err != nil {
		return h.Newest.Time
	}
	return a.bucket.storeTime().Add(-a.standing(c).Effective.Keep)
}

// hitIDs are the backups that are known to need what is missing, oldest first.
func (p *packs) hitIDs() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make([]string, 0, len(p.hit))
	for id := range p.hit {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
