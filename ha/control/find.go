package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// ErrNoBackup means that no backup has the id that was asked for.
var ErrNoBackup = errors.New("there is no such backup (understudy backups lists them)")

// Find describes the backup with this id ("" for the newest), with its verified
// manifest. An unknown id is ErrNoBackup. It takes a handful of requests however
// long the chain is.
//
// A backup that is asked for by its id need not be reachable: its signature, its
// cluster and its name are what is checked. BackupInfo says what it is in the
// chain.
func (c *Chain) Find(ctx context.Context, id string) (BackupInfo, *backup.Manifest, error) {
	h, err := c.store.Head(ctx)
	if err != nil {
		return BackupInfo{}, nil, err
	}
	info, m, err := c.FindFrom(ctx, h, id)
	if err != nil {
		return info, m, err
	}
	rehearsed, err := c.store.rehearsals(ctx)
	info.Rehearsals = rehearsed[info.ID]
	return info, m, err
}

// FindFrom is Find by a head that was read, without rehearsals.
func (c *Chain) FindFrom(ctx context.Context, h *ha.Head, id string) (BackupInfo, *backup.Manifest, error) {
	if h.Newest == nil {
		return BackupInfo{}, nil, &ha.Refusal{Reason: "the cluster has no backup yet"}
	}
	if id == "" || id == h.Newest.ID {
		m, err := c.Manifest(ctx, *h.Newest)
		if err != nil {
			return BackupInfo{}, nil, err
		}
		info := InfoOf(*h.Newest, m)
		info.Newest, info.Salvage = true, h.Newest.IsSalvage()
		return info, m, nil
	}
	ref, m, err := c.named(ctx, id)
	if err != nil {
		return BackupInfo{}, nil, err
	}
	info := InfoOf(ref, m)
	if info.Salvage = ref.IsSalvage(); info.Salvage {
		return info, m, nil // it is in no chain: its signature and its place are all that there is
	}
	return info, m, c.locate(ctx, h, &info)
}

// named reads the manifest of the backup or salvage backup with an id.
func (c *Chain) named(ctx context.Context, id string) (backup.Ref, *backup.Manifest, error) {
	ref, err := backup.ParseID(id)
	if err != nil {
		return ref, nil, fmt.Errorf("%w: %s", ErrNoBackup, id)
	}
	for _, r := range []backup.Ref{ref, ref.Salvaged()} {
		full, m, err := c.known.named(ctx, r)
		if errors.Is(err, blobstore.ErrNotFound) {
			continue
		}
		return full, m, err
	}
	for _, r := range []backup.Ref{ref, ref.Salvaged()} {
		full, m, err := c.known.repo.LoadDeleted(ctx, r)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return full, m, err
	}
	return ref, nil, fmt.Errorf("%w: %s", ErrNoBackup, id)
}

// locate says what a backup that was found by its name is in the chain.
func (c *Chain) locate(ctx context.Context, h *ha.Head, info *BackupInfo) error {
	w := c.walker(h, 0)
	tips, err := c.store.tips(ctx, h, w.oldest)
	if err != nil {
		return err
	}
	info.Superseded = tips.superseded(info.Ref)
	if tips.names(info.Ref) {
		return nil
	}
	linked, err := w.linked(ctx, info.Ref)
	info.Unlinked = !linked
	return err
}

// names reports whether a branch begins with this very backup.
func (t *tips) names(ref backup.Ref) bool {
	return slices.ContainsFunc(t.all, func(x tip) bool { return x.ref.ID == ref.ID && x.ref.Digest == ref.Digest })
}

// linked reports whether a later backup has this one as its predecessor: a
// backup is only ever made on top of one that was published.
func (w *walker) linked(ctx context.Context, ref backup.Ref) (bool, error) {
	soon, err := w.store.ListBackups(ctx, ref.Key, nearSuccessors)
	if err != nil {
		return false, err
	}
	linked, err := w.pinned(ctx, ref, soon)
	if linked || err != nil {
		return linked, err
	}
	all, err := w.list(ctx) // the clock of whoever made the next one may have been behind
	if err != nil {
		return false, err
	}
	return w.pinned(ctx, ref, all)
}

// pinned reports whether one of those listed that come next after a backup has
// it as its predecessor.
func (w *walker) pinned(ctx context.Context, ref backup.Ref, listed []backup.Ref) (bool, error) {
	var later []backup.Ref
	for _, r := range listed {
		if r.Sequence > ref.Sequence && r.Epoch >= ref.Epoch {
			later = append(later, r)
		}
	}
	slices.SortFunc(later, func(x, y backup.Ref) int {
		return cmp.Or(cmp.Compare(x.Sequence, y.Sequence), cmp.Compare(x.Epoch, y.Epoch), cmp.Compare(x.ID, y.ID))
	})
	for _, r := range later[:min(len(later), mostSuccessors)] {
		_, m, err := w.known.named(ctx, r)
		switch {
		case errors.Is(err, blobstore.ErrNotFound), Unusable(err):
			continue
		case err != nil:
			return false, err
		}
		if p := m.Previous; p != nil && p.ID == ref.ID {
			return p.Digest == ref.Digest, nil
		}
	}
	return false, nil
}

const (
	mostSuccessors = 4  // how many later backups are read
	nearSuccessors = 50 // among how many that were made next they are looked for first
)

// Newer lists the backups of the present chain that came after one, newest
// first, without reading them.
func (c *Chain) Newer(ctx context.Context, h *ha.Head, chosen backup.Ref) ([]string, error) {
	w := c.walker(h, 0)
	tips, err := c.store.tips(ctx, h, w.oldest)
	if err != nil {
		return nil, err
	}
	listed, err := w.list(ctx)
	if err != nil {
		return nil, err
	}
	// Of two with one sequence one was not published.
	bySequence := make(map[uint64]backup.Ref)
	for _, r := range listed {
		if !After(r, chosen) || After(r, *h.Newest) || tips.superseded(r) {
			continue
		}
		if other, found := bySequence[r.Sequence]; !found || other.Epoch < r.Epoch || other.Epoch == r.Epoch && other.ID < r.ID {
			bySequence[r.Sequence] = r
		}
	}
	bySequence[h.Newest.Sequence] = *h.Newest
	var ids []string
	for _, sequence := range slices.Backward(slices.Sorted(maps.Keys(bySequence))) {
		ids = append(ids, bySequence[sequence].ID)
	}
	return ids, nil
}

// After reports whether one backup comes after another in the protocol's order.
func After(x, y backup.Ref) bool {
	return x.Epoch > y.Epoch || x.Epoch == y.Epoch && x.Sequence > y.Sequence
}

// MissingPacks gives the packs that the newest backup needs and the bucket
// lacks, and how many it needs.
func (c *Chain) MissingPacks(ctx context.Context) (missing []pack.Info, of int, err error) {
	_, m, err := c.Find(ctx, "")
	if refused := (*ha.Refusal)(nil); errors.As(err, &refused) {
		return nil, 0, nil // there is no backup yet
	}
	if err != nil {
		return nil, 0, err
	}
	repo := c.known.repo
	_, index, err := repo.Open(ctx, m, repo.BucketPacks())
	if err != nil {
		return nil, 0, err
	}
	packs := index.Packs()
	missing, err = repo.Missing(ctx, packs)
	return missing, len(packs), err
}
