package agent

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
// manifest. An unknown id is ErrNoBackup. It needs no running agent, and a
// handful of requests however long the history is.
//
// A backup that is asked for by its id need not be reachable: its signature, its
// cluster and its name are what is checked. BackupInfo says what it is in the
// chain.
func (b *Bucket) Find(ctx context.Context, id string) (BackupInfo, *backup.Manifest, error) {
	h, err := b.Head(ctx)
	if err != nil {
		return BackupInfo{}, nil, err
	}
	info, m, err := b.find(ctx, h, newManifests(b.Repository(), nil), id)
	if err != nil {
		return info, m, err
	}
	rehearsed, err := b.rehearsedOn(ctx)
	info.Rehearsals = rehearsed[info.ID]
	return info, m, err
}

func (b *Bucket) find(ctx context.Context, h *ha.Head, known *manifests, id string) (BackupInfo, *backup.Manifest, error) {
	if h.Newest == nil {
		return BackupInfo{}, nil, &ha.Refusal{Reason: "the cluster has no backup yet"}
	}
	if id == "" || id == h.Newest.ID {
		m, err := known.get(ctx, *h.Newest)
		if err != nil {
			return BackupInfo{}, nil, err
		}
		info := backupInfo(*h.Newest, m)
		info.Newest, info.Salvage = true, h.Newest.IsSalvage()
		return info, m, nil
	}
	ref, m, err := b.named(ctx, known, id)
	if err != nil {
		return BackupInfo{}, nil, err
	}
	info := backupInfo(ref, m)
	if info.Salvage = ref.IsSalvage(); info.Salvage {
		return info, m, nil // it is in no chain: its signature and its place are all that there is
	}
	return info, m, b.locate(ctx, h, known, &info)
}

// named reads the manifest of the backup or salvage backup with an id.
func (b *Bucket) named(ctx context.Context, known *manifests, id string) (backup.Ref, *backup.Manifest, error) {
	ref, err := backup.ParseID(id)
	if err != nil {
		return ref, nil, fmt.Errorf("%w: %s", ErrNoBackup, id)
	}
	for _, r := range []backup.Ref{ref, ref.Salvaged()} {
		full, m, err := known.named(ctx, r)
		if errors.Is(err, blobstore.ErrNotFound) {
			continue
		}
		return full, m, err
	}
	for _, r := range []backup.Ref{ref, ref.Salvaged()} {
		full, m, err := known.repo.LoadDeleted(ctx, r)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return full, m, err
	}
	return ref, nil, fmt.Errorf("%w: %s", ErrNoBackup, id)
}

// locate says what a backup that was found by its name is in the chain.
func (b *Bucket) locate(ctx context.Context, h *ha.Head, known *manifests, info *BackupInfo) error {
	w := b.walker(h, known, 0)
	tips, err := b.tips(ctx, h, w.oldest)
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
	soon, err := w.bucket.listBackups(ctx, ref.Key, nearSuccessors)
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
		case errors.Is(err, blobstore.ErrNotFound), unusable(err):
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

// newer lists the backups of the present chain that came after one, newest
// first, without reading them.
func (b *Bucket) newer(ctx context.Context, h *ha.Head, known *manifests, chosen backup.Ref) ([]string, error) {
	w := b.walker(h, known, 0)
	tips, err := b.tips(ctx, h, w.oldest)
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
		if !after(r, chosen) || after(r, *h.Newest) || tips.superseded(r) {
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

// after reports whether one backup comes after another in the protocol's order.
func after(x, y backup.Ref) bool {
	return x.Epoch > y.Epoch || x.Epoch == y.Epoch && x.Sequence > y.Sequence
}

// MissingPacks gives the packs that the newest backup needs and the bucket
// lacks, and how many it needs. It needs no running agent.
func (b *Bucket) MissingPacks(ctx context.Context) (missing []pack.Info, of int, err error) {
	_, m, err := b.Find(ctx, "")
	if refused := (*ha.Refusal)(nil); errors.As(err, &refused) {
		return nil, 0, nil // there is no backup yet
	}
	if err != nil {
		return nil, 0, err
	}
	repo := b.Repository()
	_, index, err := repo.Open(ctx, m, repo.BucketPacks())
	if err != nil {
		return nil, 0, err
	}
	packs := index.Packs()
	missing, err = repo.Missing(ctx, packs)
	return missing, len(packs), err
}
