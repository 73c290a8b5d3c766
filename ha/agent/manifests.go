package agent

import (
	"context"
	"sync"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/restore"
)

// maxManifests is how many manifests are kept in memory: a few kilobytes each.
const maxManifests = 500

// manifests remembers verified manifests: one that a digest pins never
// changes. It is safe for concurrent use.
type manifests struct {
	repo  *backup.Repository
	cache *restore.Cache // looked into before the bucket; may be nil

	mu    sync.Mutex
	known map[string]*backup.Manifest // by digest
}

func newManifests(repo *backup.Repository, cache *restore.Cache) *manifests {
	return &manifests{repo: repo, cache: cache, known: make(map[string]*backup.Manifest)}
}

// get gives the manifest that ref pins, verified.
func (c *manifests) get(ctx context.Context, ref backup.Ref) (*backup.Manifest, error) {
	c.mu.Lock()
	m := c.known[ref.Digest]
	c.mu.Unlock()
	if m != nil {
		return m, nil
	}
	m, err := c.load(ctx, ref)
	if err != nil {
		return nil, err
	}
	c.add(ref, m)
	return m, nil
}

// load reads a manifest from the cache or the bucket.
func (c *manifests) load(ctx context.Context, ref backup.Ref) (*backup.Manifest, error) {
	if c.cache != nil {
		if cached, m, err := c.cache.Manifest(c.repo, ref.ID); err == nil && cached.Digest == ref.Digest {
			return m, nil
		}
	}
	return c.repo.Load(ctx, ref)
}

// add remembers a manifest. When there are too many any other one is
// forgotten: it can be read again.
func (c *manifests) add(ref backup.Ref, m *backup.Manifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for digest := range c.known {
		if len(c.known) < maxManifests {
			break
		}
		delete(c.known, digest)
	}
	c.known[ref.Digest] = m
}
