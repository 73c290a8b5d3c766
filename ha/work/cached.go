package work

import (
	"context"
	"slices"
	"sync"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/restore"
)

// Cached are the backups in this instance's cache. It is safe for concurrent use.
type Cached struct {
	cache    *restore.Cache
	repo     *backup.Repository
	log      event.Reporter
	progress *Progress
	counts   PullCounts

	list func() ([]backup.Ref, error) // of the cache

	mu     sync.Mutex
	begun  uint64       // how often it was begun to look
	listed uint64       // which of these looks has found refs
	refs   []backup.Ref // newest first
}

// PullCounts counts pulls.
type PullCounts interface {
	Pull()
	PullFailed()
}

// NewCached knows of none until List.
func NewCached(cache *restore.Cache, repo *backup.Repository, log event.Reporter, progress *Progress, counts PullCounts) *Cached {
	return &Cached{cache: cache, repo: repo, log: log, progress: progress, counts: counts, list: cache.List}
}

// Pull brings a backup into the cache.
func (c *Cached) Pull(ctx context.Context, ref backup.Ref) error {
	defer c.progress.pull(nil)
	defer c.List(ctx)
	c.counts.Pull()
	if err := c.cache.Pull(ctx, c.repo, ref, func(p backup.Progress) { c.progress.pull(&p) }); err != nil {
		if ctx.Err() == nil {
			c.counts.PullFailed()
		}
		return err
	}
	return nil
}

// List looks at what is in the cache. A look that takes longer than one which began after it has
// nothing to say: it may have missed what that one was begun for.
func (c *Cached) List(ctx context.Context) {
	c.mu.Lock()
	c.begun++
	look := c.begun
	c.mu.Unlock()
	refs, err := c.list()
	if err != nil {
		c.log.Note(ctx, event.Warn, "cache", err.Error(), nil)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if look > c.listed {
		c.listed, c.refs = look, refs
	}
}

// Refs are the cached backups, newest first.
func (c *Cached) Refs() []backup.Ref {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refs
}

// Has reports whether the backup with an id is cached.
func (c *Cached) Has(id string) bool {
	return slices.ContainsFunc(c.Refs(), func(r backup.Ref) bool { return r.ID == id })
}
