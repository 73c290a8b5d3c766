package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/blobstore"
)

// Mended says that a cached pack was found to be missing or damaged.
type Mended struct {
	Pack pack.Digest
	Why  error // what was wrong with it
	Err  error // why it could not be replaced; nil: it was
}

// Mending reads packs from the cache. One that is missing or damaged there is
// taken from the bucket, and replaced in the cache, durably. Cache.Mended is
// told.
func (c *Cache) Mending(repo *backup.Repository) *Mending {
	return &Mending{cache: c, repo: repo, found: make(map[pack.Digest]*mend)}
}

// Through is Mending for what need not be cached whole: a pack that is missing
// is read from the bucket, and not kept.
func (c *Cache) Through(repo *backup.Repository) *Mending {
	m := c.Mending(repo)
	m.through = true
	return m
}

// Mending reads a Cache, and mends it. It is safe for concurrent use.
type Mending struct {
	cache   *Cache
	repo    *backup.Repository
	through bool // a missing pack is no damage

	mu    sync.Mutex
	found map[pack.Digest]*mend
}

var _ pack.Mender = (*Mending)(nil)

// mend is what came of mending one pack.
type mend struct {
	mu   sync.Mutex
	from pack.Packs // where it is read from now; nil: not mended
}

// ReadPack implements pack.Packs.
func (m *Mending) ReadPack(ctx context.Context, d pack.Digest, off int64, buf []byte) error {
	err := m.cache.ReadPack(ctx, d, off, buf)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if m.through && errors.Is(err, fs.ErrNotExist) {
		return m.repo.BucketPacks().ReadPack(ctx, d, off, buf)
	}
	from, mendErr := m.Mend(ctx, d)
	if mendErr != nil {
		return fmt.Errorf("%w (and no sound copy was found: %w)", err, mendErr)
	}
	return from.ReadPack(ctx, d, off, buf)
}

// Mend implements pack.Mender.
func (m *Mending) Mend(ctx context.Context, d pack.Digest) (pack.Packs, error) {
	one := m.mend(d)
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.from != nil {
		return one.from, nil
	}
	why := m.cache.packs.check(ctx, d)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if why == nil { // somebody else has mended it
		one.from = m.cache
		return one.from, nil
	}
	f := &fetch{cache: m.cache, repo: m.repo}
	p := pack.Info{Digest: d}
	err := f.one(ctx, p)
	if err == nil {
		err = m.cache.packs.sync([]pack.Info{p})
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if m.cache.Mended != nil {
		m.cache.Mended(ctx, Mended{Pack: d, Why: why, Err: err})
	}
	switch {
	case err == nil:
		one.from = m.cache
	case isStore(err), errors.Is(err, pack.ErrCorrupt): // the bucket has none that is sound
		return nil, err
	default: // it has, and cannot be kept here
		one.from = m.repo.BucketPacks()
	}
	return one.from, nil
}

func isStore(err error) bool {
	e := (*blobstore.Error)(nil)
	return errors.As(err, &e)
}

func (m *Mending) mend(d pack.Digest) *mend {
	m.mu.Lock()
	defer m.mu.Unlock()
	one := m.found[d]
	if one == nil {
		one = new(mend)
		m.found[d] = one
	}
	return one
}

// WholePack is Cache.WholePack, mended where that is needed.
func (m *Mending) WholePack(ctx context.Context, d pack.Digest) ([]byte, error) {
	data, err := m.cache.WholePack(ctx, d)
	if err == nil || ctx.Err() != nil {
		return data, err
	}
	if _, mendErr := m.Mend(ctx, d); mendErr != nil {
		return nil, fmt.Errorf("%w (and no sound copy was found: %w)", err, mendErr)
	}
	return m.cache.WholePack(ctx, d)
}

// Sound checks the records of a cached backup, not its packs: that they are of
// this very backup, and as they were written. A backup that is not cached is an
// error that wraps fs.ErrNotExist.
func (c *Cache) Sound(ref backup.Ref) error {
	err := c.sound(ref)
	if err != nil {
		return fmt.Errorf("check cached backup %s: %w", ref.ID, err)
	}
	return nil
}

func (c *Cache) sound(ref backup.Ref) error {
	cached, err := c.ref(ref.ID)
	if err != nil {
		return err
	}
	if cached.Digest != ref.Digest {
		return fmt.Errorf("%w: it is another (digest %s instead of %s)", errBroken, cached.Digest, ref.Digest)
	}
	signed, err := os.ReadFile(c.path("backups", ref.ID, "manifest.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: its manifest is gone", errBroken)
	}
	if err != nil {
		return err
	}
	if sum := digestOf(signed); sum != ref.Digest {
		return fmt.Errorf("%w: its manifest is damaged (digest %s instead of %s)", errBroken, sum, ref.Digest)
	}
	if _, err := c.needs(ref.ID); err != nil {
		return fmt.Errorf("%w: its list of packs: %v", errBroken, err) //nolint:errorlint // that the list is gone is not that the backup is
	}
	return nil
}

// PackSize is Cache.PackSize.
func (m *Mending) PackSize(ctx context.Context, d pack.Digest) (int64, error) {
	return m.cache.PackSize(ctx, d)
}

// PutPack implements backup.LocalPacks.
func (m *Mending) PutPack(ctx context.Context, d pack.Digest, data []byte) error {
	return m.cache.PutPack(ctx, d, data)
}
