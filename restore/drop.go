package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/understudy-ha/understudy/backup/pack"
)

// Trim drops the packs that neither a cached backup needs nor one of these
// indexes: an active calls it with the index of its newest backup.
func (c *Cache) Trim(ctx context.Context, indexes ...*pack.Index) error {
	err := c.change(ctx, func() error {
		needed := make(map[pack.Digest]bool)
		for _, x := range indexes {
			for _, p := range x.Packs() {
				needed[p.Digest] = true
			}
		}
		return c.tidy("", needed)
	})
	if err != nil {
		return fmt.Errorf("trim cache: %w", err)
	}
	return nil
}

// Purge empties the cache, held backups included: for an instance that leaves
// its cluster. It waits for a pull that is under way.
func (c *Cache) Purge(ctx context.Context) error {
	err := c.change(ctx, func() error {
		for _, name := range []string{"backups", "packs", "partial"} {
			if err := emptyDir(c.path(name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("purge cache: %w", err)
	}
	return nil
}

// tidy drops the backups beyond the newest keep, except the one with the id
// spared and those that are held, and whatever cannot be read; then the packs
// that neither a backup that is left needs, nor the caller.
func (c *Cache) tidy(spared string, needed map[pack.Digest]bool) error {
	refs, broken, err := c.list()
	if err != nil {
		return err
	}
	for i, ref := range refs {
		if i >= c.keep && ref.ID != spared {
			dropped, err := c.dropUnlessHeld(ref.ID)
			if err != nil {
				return err
			}
			if dropped {
				continue
			}
		}
		packs, err := c.needs(ref.ID)
		if isBroken(err) {
			broken = append(broken, ref.ID)
			continue
		}
		if err != nil {
			return err
		}
		for _, p := range packs {
			needed[p.Digest] = true
		}
	}
	for _, id := range broken {
		if err := c.dropBackup(id); err != nil {
			return err
		}
	}
	return announced(c.Step, "cache.sweep", func() error { return c.packs.drop(needed) })
}

func (c *Cache) dropUnlessHeld(id string) (dropped bool, err error) {
	lock := flock.New(c.path("backups", id, "ref.json"), flock.SetFlag(os.O_RDONLY))
	free, err := lock.TryLock()
	if err != nil {
		return false, fmt.Errorf("drop backup %s: %w", id, err)
	}
	if free {
		err = c.dropBackup(id)
	}
	return free, errors.Join(err, lock.Close())
}

// dropBackup takes a backup out of its place at once, then removes it.
func (c *Cache) dropBackup(id string) error {
	grave, err := os.MkdirTemp(c.path("partial"), "drop-*")
	if err != nil {
		return fmt.Errorf("drop backup %s: %w", id, err)
	}
	// Its packs may only go once it is certain not to come back.
	err = announced(c.Step, "cache.drop", func() error { return c.move(c.path("backups", id), filepath.Join(grave, id)) })
	if err != nil {
		return fmt.Errorf("drop backup %s: %w", id, err)
	}
	if err := os.RemoveAll(grave); err != nil {
		return fmt.Errorf("drop backup %s: %w", id, err)
	}
	return nil
}

// emptyDir removes what a folder holds.
func emptyDir(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(path, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
