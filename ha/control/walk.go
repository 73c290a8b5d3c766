package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// PageFrom lists a page of the chain, and of what was cut off from it: it follows
// every branch. keep is the retention; 0: it is not known.
func (c *Chain) PageFrom(ctx context.Context, h *ha.Head, keep time.Duration, p Page) (BackupList, error) {
	w := c.walker(h, keep)
	tips, err := c.store.tips(ctx, h, w.oldest)
	if err != nil {
		return BackupList{}, err
	}
	for _, t := range tips.all {
		if err := w.follow(ctx, t, p); err != nil {
			return BackupList{}, err
		}
	}
	if err := w.addSalvages(ctx, p); err != nil {
		return BackupList{}, err
	}
	list := p.Cut(w.found)
	list.Damaged = tips.damaged
	return list, nil
}

// walker follows branches backwards.
type walker struct {
	*Chain
	head   *ha.Head
	oldest time.Time // zero: not known
	seen   map[string]bool
	found  []BackupInfo
	listed []backup.Ref // what lies in the folder of backups, oldest first; nil: not looked at yet
	misses int          // manifests in a row that were not known
}

func (c *Chain) walker(h *ha.Head, keep time.Duration) *walker {
	w := &walker{Chain: c, head: h, seen: make(map[string]bool)}
	if keep > 0 {
		w.oldest = c.store.Time().Add(-keep)
	}
	return w
}

func (w *walker) isNewest(ref backup.Ref) bool {
	return w.head.Newest != nil && ref.ID == w.head.Newest.ID
}

// expired reports whether a backup is too old to be shown. The newest is kept
// however old it is.
func (w *walker) expired(ref backup.Ref) bool { return ref.Time.Before(w.oldest) && !w.isNewest(ref) }

// follow follows one branch as far as the page needs it.
func (w *walker) follow(ctx context.Context, t tip, p Page) error {
	left := p.size() + 1 // one more shows that the page is not the last
	unlinked := false
	for ref := &t.ref; ref != nil && !w.seen[ref.ID] && left > 0 && !w.expired(*ref); {
		if err := w.prefetch(ctx, *ref, left); err != nil {
			return err
		}
		s, err := w.step(ctx, *ref)
		if err != nil {
			return err
		}
		if s.ended {
			return nil
		}
		for _, info := range s.found {
			w.seen[info.ID] = true
			if !p.Has(info.Ref) {
				continue
			}
			info.Superseded, info.Salvage, info.Newest = t.superseded, info.IsSalvage(), w.isNewest(info.Ref)
			info.Unlinked = unlinked && info.Damaged == ""
			w.found = append(w.found, info)
			left--
		}
		unlinked = s.gap
		if ref = s.previous; t.salvage {
			return nil // what it was made on top of is in a chain of its own
		}
	}
	return nil
}

// addSalvages finds the salvage backups that no record names.
func (w *walker) addSalvages(ctx context.Context, p Page) error {
	all, err := w.salvages(ctx, p.size()+1, func(ref backup.Ref, _ time.Time) bool {
		return !w.seen[ref.ID] && !w.expired(ref) && p.Has(ref)
	})
	for _, s := range all {
		info := s.info()
		info.Salvage, info.Newest = true, w.isNewest(info.Ref)
		w.found = append(w.found, info)
	}
	return err
}

// stride is one step back in a chain.
type stride struct {
	found    []BackupInfo
	previous *backup.Ref
	gap      bool // previous was found by looking, and nothing pins it
	ended    bool // nothing is there, nor before it
}

// step describes the backup that ref pins, and finds the one before it: where
// its manifest is damaged or missing, by looking into the folder.
func (w *walker) step(ctx context.Context, ref backup.Ref) (stride, error) {
	info, previous, err := w.known.info(ctx, ref)
	missing := errors.Is(err, blobstore.ErrNotFound)
	switch {
	case err == nil:
		return stride{found: []BackupInfo{info}, previous: previous}, nil
	case errors.Is(err, seal.ErrUnknownKey):
		return stride{ended: true}, nil // it is the one that was published, and nothing but a retired key has signed it
	case missing && !w.isNewest(ref) && ref.Time.Before(w.oldest.Add(ExpirySlack)):
		return stride{ended: true}, nil
	case !missing && !Unusable(err):
		return stride{}, err
	}
	if missing {
		err = fmt.Errorf("its manifest is missing from the bucket: %w", err)
	}
	s := stride{found: []BackupInfo{DamagedInfo(ref, err)}, gap: true}
	if ref.IsSalvage() {
		return s, nil
	}
	damaged, before, err := w.before(ctx, ref)
	if err != nil {
		return s, err
	}
	s.found = append(s.found, damaged...)
	s.previous = before
	s.ended = missing && before == nil && !w.isNewest(ref) // it has expired, like all before it
	return s, nil
}

// ExpirySlack is by how much clocks may differ, when what is missing is told
// from what has expired.
const ExpirySlack = time.Hour

// Unusable reports whether an error of reading a manifest is about that manifest
// alone.
func Unusable(err error) bool {
	return backup.Damaged(err) || errors.Is(err, blobstore.ErrDenied) || errors.Is(err, blobstore.ErrInvalid)
}

// before finds the backup before one whose manifest does not tell: the one with
// the highest sequence below its own whose signature holds. What is damaged on
// the way is described. Of two with one sequence one was not published: that of
// the higher epoch counts, or the later one, since what fails to be published is
// made again.
func (w *walker) before(ctx context.Context, ref backup.Ref) (damaged []BackupInfo, before *backup.Ref, err error) {
	listed, err := w.list(ctx)
	if err != nil {
		return nil, nil, err
	}
	var candidates []backup.Ref
	for _, r := range listed {
		if r.Sequence < ref.Sequence && r.Epoch <= ref.Epoch && !w.expired(r) && !w.seen[r.ID] {
			candidates = append(candidates, r)
		}
	}
	slices.SortFunc(candidates, func(x, y backup.Ref) int {
		return cmp.Or(cmp.Compare(y.Sequence, x.Sequence), cmp.Compare(y.Epoch, x.Epoch), cmp.Compare(y.ID, x.ID))
	})
	for _, r := range candidates {
		if len(damaged) >= mostDamaged {
			break
		}
		full, _, err := w.known.named(ctx, r)
		switch {
		case err == nil:
			return damaged, &full, nil
		case errors.Is(err, blobstore.ErrNotFound):
		case Unusable(err):
			damaged = append(damaged, DamagedInfo(r, err))
		default:
			return nil, nil, err
		}
	}
	return damaged, nil, nil
}

// mostDamaged is how many damaged manifests in a row are looked past.
const mostDamaged = 1000

// fewManifests is how many manifests are read one after the other before it
// pays to look which there are.
const fewManifests = 4

// prefetch reads manifests that are likely to be followed from ref on, several
// at a time, where several in a row were not known. Each is verified when it is
// followed.
func (w *walker) prefetch(ctx context.Context, ref backup.Ref, left int) error {
	if ref.IsSalvage() || w.known.knows(ref) {
		w.misses = 0
		return nil
	}
	if w.misses++; w.misses <= fewManifests || left <= fewManifests {
		return nil
	}
	wanted, err := w.nearest(ctx, ref, min(left, prefetchMost))
	if err != nil {
		return err
	}
	return InParallel(ctx, len(wanted), func(i int) error {
		w.known.remember(ctx, wanted[i])
		return nil // whoever follows it learns what is wrong with it
	})
}

// prefetchMost is how many manifests are read ahead at once.
const prefetchMost = 1000
