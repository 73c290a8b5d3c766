package backups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/cmd/understudy/buckets"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/restore"
)

// Where a copy of a backup is.
const (
	FromCache  = "cache"
	FromBucket = "bucket"
)

// Copy is a backup that can be read, held until it is released.
type Copy struct {
	Ref      backup.Ref
	Manifest *backup.Manifest
	From     string // FromCache or FromBucket
	repo     *backup.Repository
	packs    pack.Packs
	cache    *restore.Cache // nil: it is not from there
	release  func() error
}

// Export writes its content into a folder.
func (c *Copy) Export(ctx context.Context, dir string, progress func(backup.Progress)) error {
	reader, _, err := c.repo.Open(ctx, c.Manifest, c.packs)
	if err != nil {
		return fmt.Errorf("open backup %s: %w", c.Ref.ID, err)
	}
	return restore.Export(ctx, reader, c.Manifest, dir, progress)
}

// Verify checks that it can be restored; deep reads every byte.
func (c *Copy) Verify(ctx context.Context, deep bool, progress func(backup.Progress)) error {
	return restore.Verify(ctx, c.repo, c.Manifest, c.packs, deep, progress)
}

// DiffSide is what it is in a comparison.
func (c *Copy) DiffSide() restore.DiffSide {
	return restore.DiffSide{Repo: c.repo, Manifest: c.Manifest, Packs: c.packs}
}

// Release lets the cache drop it.
func (c *Copy) Release() error { return c.release() }

// Copy finds a backup ("" for the newest) in the cache of this host or,
// where it is not there, in the bucket.
func (f *Finder) Copy(ctx context.Context, id string) (*Copy, error) {
	if id == "" && f.Set.Bucket != "" {
		return f.newest(ctx)
	}
	cached, err := f.InCache(id)
	switch {
	case err == nil:
		return f.mending(ctx, cached), nil
	case f.Set.Bucket != "":
		return f.InBucket(ctx, id)
	}
	return nil, f.orNowhere(err)
}

// orNowhere says, of what is not in the cache, that there is no bucket to look in.
func (f *Finder) orNowhere(err error) error {
	if errors.Is(err, errNoCache) || errors.Is(err, fs.ErrNotExist) {
		return exit.Usagef("the backup is not in this host's cache (%s), and no bucket is set: set UNDERSTUDY_BUCKET or --bucket", f.Set.DataDir)
	}
	return err
}

// newest finds the newest backup by the head. While the bucket cannot be
// asked it is the newest cached one.
func (f *Finder) newest(ctx context.Context) (*Copy, error) {
	newest, err := f.InBucket(ctx, "")
	if unreachable(ctx, err) {
		cached, missing := f.InCache("")
		if missing != nil {
			return nil, err
		}
		f.Tell.Note("the bucket cannot be asked which backup is the newest (%v); the newest cached one is taken, of %s", err, terminal.Stamp(cached.Ref.Time))
		return cached, nil
	}
	if err != nil {
		return nil, err
	}
	if cached, err := f.InCache(newest.Ref.ID); err == nil {
		return f.mending(ctx, cached), nil
	}
	return newest, nil
}

// InBucket finds a backup ("" for the newest) in the bucket.
func (f *Finder) InBucket(ctx context.Context, id string) (*Copy, error) {
	return f.CopyAt(ctx, id, time.Time{})
}

// CopyAt finds a backup in the bucket as it was at a time, unless that is
// zero.
func (f *Finder) CopyAt(ctx context.Context, id string, at time.Time) (*Copy, error) {
	_, bucket, err := f.Buckets.LookAt(ctx, at)
	if err != nil {
		return nil, err
	}
	info, m, err := bucket.Chain().Find(ctx, id)
	switch {
	case errors.Is(err, control.ErrNoBackup):
		return nil, NoBackup(id)
	case err != nil:
		return nil, err
	}
	repo := bucket.Repository()
	return &Copy{
		Ref: info.Ref, Manifest: m, repo: repo, packs: repo.BucketPacks(), From: FromBucket,
		release: func() error { return nil },
	}, nil
}

// errNoCache means that this host has no cache that this user may read.
var errNoCache = errors.New("this host has no cache")

// errEmptyCache means that this host has not cached a backup.
var errEmptyCache = exit.With(fs.ErrNotExist, errors.New("this host's cache holds no backup: only a standby's agent fills it"))

// openCache opens the cache of this host, of a cluster.
func (f *Finder) openCache() (cache *restore.Cache, cluster string, err error) {
	journal, err := datadir.ReadJournal(f.Set.DataDir)
	if err != nil || journal == nil {
		return nil, "", errors.Join(errNoCache, err)
	}
	folder, err := datadir.FindCache(f.Set.DataDir)
	if err != nil || folder == "" {
		return nil, "", errors.Join(errNoCache, err)
	}
	cache, err = restore.OpenCache(folder, agent.DefaultKeep)
	return cache, journal.Cluster, err
}

// cached lists the cache, newest first.
func (f *Finder) cached() ([]backup.Ref, error) {
	cache, _, err := f.openCache()
	if err != nil {
		return nil, err
	}
	refs, err := cache.List()
	if err == nil && len(refs) == 0 {
		err = errEmptyCache
	}
	return refs, err
}

// InCache finds a backup ("" for the newest) in the cache, and keeps it
// from being dropped. It does not make a cache where there is none.
func (f *Finder) InCache(id string) (*Copy, error) {
	cache, cluster, err := f.openCache()
	if err != nil {
		return nil, err
	}
	ring, err := f.Set.Ring()
	if err != nil {
		return nil, err
	}
	if id == "" {
		refs, err := f.cached()
		if err != nil {
			return nil, err
		}
		id = refs[0].ID
	}
	release, err := cache.Hold(id)
	if err != nil {
		return nil, err
	}
	repo := &backup.Repository{Ring: ring, Cluster: cluster}
	ref, m, err := cache.Manifest(repo, id)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	return &Copy{Ref: ref, Manifest: m, repo: repo, packs: cache, cache: cache, From: FromCache, release: release}, nil
}

// mending makes a cached copy take from the bucket what turns out to be damaged,
// where there is one.
func (f *Finder) mending(ctx context.Context, c *Copy) *Copy {
	if f.Set.Bucket == "" {
		return c
	}
	store, err := buckets.Open(ctx, f.Set, slog.New(slog.DiscardHandler))
	if err != nil {
		return c // the copy may well be sound
	}
	c.repo.Store = store
	c.cache.Mended = func(_ context.Context, m restore.Mended) {
		if m.Err == nil {
			f.Tell.Note("the cached pack %s is bad (%v), and was replaced by the bucket's", m.Pack, m.Why)
		}
	}
	c.packs = c.cache.Mending(c.repo)
	return c
}

// Current finds a backup in the bucket as it is there now: an earlier version
// that is right is no proof of a good backup.
func (f *Finder) Current(ctx context.Context, id string) (*Copy, error) {
	found, err := f.InBucket(ctx, id)
	if err != nil {
		return nil, err
	}
	found.repo = found.repo.Current()
	found.packs = found.repo.BucketPacks()
	// The manifest was read already, perhaps from an earlier version.
	found.Manifest, err = found.repo.Load(ctx, found.Ref)
	return found, err
}
