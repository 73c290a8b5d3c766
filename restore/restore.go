// Package restore brings backups back: it pulls them into a local cache,
// verifies them, stages them beside the live state, and swaps them into place
// under a journal.
package restore

import (
	"context"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
)

// Cache is a folder of verified backups: manifests and packs. It is also the
// active's local store of metadata packs.
type Cache struct{}

// OpenCache opens (and makes) the cache in dir and drops leftovers of
// interrupted pulls that cannot be resumed. keep is how many backups to keep.
func OpenCache(dir string, keep int) (*Cache, error) { panic("skeleton") }

// Pull brings one backup into the cache: free space is checked, missing packs
// are fetched into temporary files, verified, synced and renamed, the manifest
// last: only then does the backup count as cached. An interrupted Pull resumes.
// Then backups beyond the newest keep by (epoch, sequence) are dropped, with
// the packs that no cached backup needs; hold is never dropped.
func (c *Cache) Pull(ctx context.Context, repo *backup.Repository, ref backup.Ref, progress func(backup.Progress)) error {
	panic("skeleton")
}

// List gives the cached backups, newest first by (epoch, sequence).
func (c *Cache) List() ([]backup.Ref, error) { panic("skeleton") }

// Manifest reads a cached backup's manifest, verified.
func (c *Cache) Manifest(repo *backup.Repository, id string) (backup.Ref, *backup.Manifest, error) {
	panic("skeleton")
}

// ReadPack implements pack.Packs.
func (c *Cache) ReadPack(ctx context.Context, d pack.Digest, off int64, buf []byte) error {
	panic("skeleton")
}

// PutPack implements backup.LocalPacks.
func (c *Cache) PutPack(ctx context.Context, d pack.Digest, data []byte) error { panic("skeleton") }

// Purge empties the cache.
func (c *Cache) Purge() error { panic("skeleton") }

// Swapper stages a backup and swaps it into place for all sources together,
// under a journal of its own in dir, so that a crash at any point ends, after
// Rollback or Finish in a new process, with all sources old or all new.
type Swapper struct{}

// NewSwapper works on sources with a journal in dir.
func NewSwapper(dir string, sources []source.Source) (*Swapper, error) { panic("skeleton") }

// Stage builds every source's state beside its target. Free space is checked
// first, over all sources that share a file system. A source in the backup
// that is not configured here, or the reverse, is an error.
func (s *Swapper) Stage(ctx context.Context, r *pack.Reader, m *backup.Manifest, progress func(backup.Progress)) error {
	panic("skeleton")
}

// Swap puts the staged state of every source into place, keeping what it
// replaces. If one source fails, those already swapped are swapped back.
func (s *Swapper) Swap(ctx context.Context) error { panic("skeleton") }

// Rollback puts the replaced state of every source back. It may be called in
// any state, any number of times; with nothing staged it does nothing.
func (s *Swapper) Rollback(ctx context.Context) error { panic("skeleton") }

// Finish drops the replaced states. Rollback is not possible any more.
func (s *Swapper) Finish(ctx context.Context) error { panic("skeleton") }

// Export writes every source of a backup under dir, one entry per source. dir
// must be missing or empty.
func Export(ctx context.Context, r *pack.Reader, m *backup.Manifest, dir string, progress func(backup.Progress)) error {
	panic("skeleton")
}

// Verify checks that a backup can be read: deep reads every chunk, otherwise
// every pack is present with the right size.
func Verify(ctx context.Context, repo *backup.Repository, m *backup.Manifest, packs pack.Packs, deep bool, progress func(backup.Progress)) error {
	panic("skeleton")
}
