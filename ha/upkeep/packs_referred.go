package upkeep

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
)

// A pack was new in one backup, and the ones after it share it. So what all
// backups of a branch need is what was new in each, and all that the first and the
// last of them need. Each branch (the present chain, those that promotions have cut
// off, salvage backups) is read backwards once, some manifests a look, and from then
// on only what has come since.

// referredMost is how many manifests one look reads.
const referredMost = 500

// referred are the packs that backups refer to, as far as their branches were read.
// One goroutine reads; everybody may ask what was read.
type referred struct {
	begun map[string]bool // ids of the backups with which branches begin that are known
	next  []stretch       // what is to be read yet

	mu   sync.Mutex
	new  map[string][]pack.Info // of a backup's id: the packs that were new in it, or more
	refs map[string]backup.Ref  // those backups
}

// packReader reads what backups refer to.
type packReader interface {
	manifest(ctx context.Context, ref backup.Ref) (*backup.Manifest, error)
	packsOf(ctx context.Context, m *backup.Manifest, all bool) ([]pack.Info, error)
}

// stretch is a part of a branch, from a backup on backwards.
type stretch struct {
	from  backup.Ref
	first bool // the branch begins with it
}

// read reads of the backups that have come since it last did, and goes on with the
// older ones and with the branches. What is older than oldest is not read; what was
// new in such a backup counts for as long as others may refer to it.
func (r *referred) read(ctx context.Context, of packReader, newest backup.Ref, branches []backup.Ref, oldest time.Time, reuse time.Duration) error {
	if r.begun == nil {
		r.begun, r.new, r.refs = map[string]bool{}, map[string][]pack.Info{}, map[string]backup.Ref{}
	}
	todo := append([]stretch{{from: newest}}, r.next...)
	for _, ref := range branches {
		if !r.begun[ref.ID] {
			r.begun[ref.ID] = true
			todo = append(todo, stretch{from: ref, first: true})
		}
	}
	r.next = nil
	left := referredMost
	for i, s := range todo {
		on, err := r.follow(ctx, of, s, oldest, &left)
		if on != nil {
			r.next = append(r.next, *on)
		}
		if err != nil {
			r.next = append(r.next, todo[i+1:]...)
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, ref := range r.refs {
		if ref.Time.Before(oldest.Add(-reuse)) && id != newest.ID {
			delete(r.refs, id)
			delete(r.new, id)
		}
	}
	return nil
}

// follow reads backwards to what is known, or to the end of the branch, and returns
// where it goes on when it has read enough.
func (r *referred) follow(ctx context.Context, of packReader, s stretch, oldest time.Time, left *int) (*stretch, error) {
	for {
		if r.knows(s.from.ID) {
			return nil, nil
		}
		if *left == 0 {
			return &s, nil
		}
		*left--
		m, err := of.manifest(ctx, s.from)
		if errors.Is(err, blobstore.ErrNotFound) || control.Unusable(err) {
			return nil, nil // it is told where backups are listed
		}
		if err != nil {
			return &s, err
		}
		ends := m.Previous == nil || m.Previous.Time.Before(oldest)
		packs, err := of.packsOf(ctx, m, s.first || ends)
		if err != nil {
			return &s, err
		}
		r.add(s.from, packs)
		if ends {
			return nil, nil
		}
		s = stretch{from: *m.Previous}
	}
}

func (r *referred) knows(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.new[id]
	return known
}

func (r *referred) add(ref backup.Ref, packs []pack.Info) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.new[ref.ID], r.refs[ref.ID] = packs, ref
}

// packsOf are the packs that were new in a backup, or all that it needs. A manifest
// that does not list the new ones has many: then all count.
func (p *Packs) packsOf(ctx context.Context, m *backup.Manifest, all bool) ([]pack.Info, error) {
	if !all && (len(m.NewPacks) > 0 || m.Size.Stored == 0) {
		return m.Named(), nil
	}
	_, index, err := p.host.Repo.Open(ctx, m, p.host.Cache.Through(p.host.Repo))
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
	r.mu.Lock()
	defer r.mu.Unlock()
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

// list lists the backups that were read, newest first.
func (r *referred) list() []backup.Ref {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]backup.Ref, 0, len(r.refs))
	for _, ref := range r.refs {
		all = append(all, ref)
	}
	slices.SortFunc(all, control.NewestFirst)
	return all
}

// kept is from when on backups are kept, and how old a pack may be that a backup
// refers to.
func (p *Packs) kept(ctx context.Context, h *ha.Head) (oldest time.Time, reuse time.Duration) {
	c, err := p.host.Cluster.ConfigWith(ctx, h.Config)
	if err != nil {
		return h.Newest.Time, 0
	}
	rules := p.rules.Effect(c).Effective
	return p.host.Control.Time().Add(-rules.Keep), max(rules.Reuse, 0)
}

// manifest implements packReader.
func (p *Packs) manifest(ctx context.Context, ref backup.Ref) (*backup.Manifest, error) {
	return p.host.Chain.Manifest(ctx, ref)
}
