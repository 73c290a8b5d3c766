package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
)

// ErrMissing means that packs that a backup needs are not in the bucket, or not whole.
var ErrMissing = errors.New("packs are missing from the bucket")

// Missing gives those of the packs that the bucket does not have, or has with
// another size; a size of 0 is one that is not known. It lists the packs, a request for about a thousand of them, and
// looks again at each that the list lacks.
func (r *Repository) Missing(ctx context.Context, packs []pack.Info) ([]pack.Info, error) {
	return r.Look(ctx, packs, func(pack.Info, blobstore.Attrs) {})
}

// Look is Missing, and yields those of the packs that the list has with their
// sizes, in the order of their digests.
func (r *Repository) Look(ctx context.Context, packs []pack.Info, listed func(pack.Info, blobstore.Attrs)) ([]pack.Info, error) {
	packs = slices.Clone(packs)
	slices.SortFunc(packs, func(x, y pack.Info) int { return bytes.Compare(x.Digest[:], y.Digest[:]) })
	suspect, err := r.unlisted(ctx, packs, listed)
	if err != nil {
		return nil, fmt.Errorf("look for missing packs: %w", err)
	}
	var mu sync.Mutex
	var missing []pack.Info
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for _, p := range suspect {
		group.Go(func() error {
			attrs, err := r.Store.Stat(ctx, p.Digest.Key())
			if err != nil && !errors.Is(err, blobstore.ErrNotFound) {
				return fmt.Errorf("look for missing packs: %w", err)
			}
			if err == nil && (attrs.Size == p.Size || p.Size == 0) {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			missing = append(missing, p)
			return nil
		})
	}
	return missing, group.Wait()
}

// unlisted gives those of the packs, which are in order, that a list of the
// bucket's does not have with their sizes, and yields the others.
func (r *Repository) unlisted(ctx context.Context, packs []pack.Info, listed func(pack.Info, blobstore.Attrs)) (suspect []pack.Info, err error) {
	if len(packs) == 0 {
		return nil, nil
	}
	for attrs, err := range r.Store.List(ctx, retention.Packs, "") {
		if err != nil {
			return nil, err
		}
		for len(packs) > 0 && packs[0].Digest.Key() < attrs.Key {
			suspect, packs = append(suspect, packs[0]), packs[1:]
		}
		if len(packs) == 0 {
			return suspect, nil
		}
		if packs[0].Digest.Key() == attrs.Key {
			if size := packs[0].Size; size != attrs.Size && size != 0 {
				suspect = append(suspect, packs[0])
			} else {
				listed(packs[0], attrs)
			}
			packs = packs[1:]
		}
	}
	return append(suspect, packs...), nil
}

// Intact reads a pack in the bucket, and reports whether it is there and is the one
// that its name says; and which version it has read.
func (r *Repository) Intact(ctx context.Context, p pack.Info) (bool, blobstore.Attrs, error) {
	data, attrs, err := blobstore.ReadAll(ctx, r.Store, p.Digest.Key(), pack.MaxPackSize)
	switch {
	case errors.Is(err, blobstore.ErrNotFound), errors.Is(err, blobstore.ErrInvalid):
		return false, attrs, nil
	case err != nil:
		return false, attrs, fmt.Errorf("read pack %s: %w", p.Digest, err)
	}
	return pack.Digest(sha256.Sum256(data)) == p.Digest, attrs, nil
}

// Named gives the packs that a manifest itself names, for when its index cannot
// be read: those of the index, and those that were new in it.
func (m *Manifest) Named() []pack.Info {
	var named []pack.Info
	seen := make(map[pack.Digest]bool)
	add := func(p pack.Info) {
		if !seen[p.Digest] {
			seen[p.Digest] = true
			named = append(named, p)
		}
	}
	for _, p := range m.Index.Packs {
		add(pack.Info{Digest: p.Digest, Size: p.Size, Time: p.Time, Meta: true})
	}
	for _, name := range m.NewPacks {
		var p pack.Info
		if p.Digest.UnmarshalText([]byte(name)) == nil {
			add(p)
		}
	}
	return named
}

// MissingPacks implements what Verify asks of packs that can be listed.
func (b bucketPacks) MissingPacks(ctx context.Context, packs []pack.Info) ([]pack.Info, error) {
	return (&Repository{Store: b.store}).Missing(ctx, packs)
}

// checking looks, while a backup is being made, whether the packs that it builds
// on are there.
type checking struct {
	done    chan struct{}
	missing []pack.Info
	err     error
}

// check begins to look for packs.
func (r *Repository) check(ctx context.Context, packs []pack.Info) *checking {
	c := &checking{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.missing, c.err = r.Missing(ctx, packs)
	}()
	return c
}
