package control

import (
	"context"
	"maps"
	"sync"

	"github.com/understudy-ha/understudy/backup"
)

// maxManifests is how many manifests are kept in memory: a few kilobytes each.
const maxManifests = 500

// maxLinks is how many backups are remembered as lists show them: a kilobyte
// each, for two weeks of one a minute.
const maxLinks = 20_000

// manifests remembers verified manifests: one that a digest pins never
// changes. It is safe for concurrent use.
type manifests struct {
	repo  *backup.Repository
	cache Cache // looked into before the bucket; may be nil

	mu    sync.Mutex
	known map[string]*backup.Manifest // by digest
	links map[string]link             // by digest
	names map[string]namedManifest    // of salvage backups, by key
}

// namedManifest is one that was found by its name.
type namedManifest struct {
	ref backup.Ref
	m   *backup.Manifest
}

// link is a backup in its chain.
type link struct {
	info     BackupInfo
	previous *backup.Ref
}

func newManifests(repo *backup.Repository, cache Cache) *manifests {
	return &manifests{repo: repo, cache: cache, known: make(map[string]*backup.Manifest), links: make(map[string]link), names: make(map[string]namedManifest)}
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

// knows reports whether info needs no request.
func (c *manifests) knows(ref backup.Ref) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, known := c.links[ref.Digest]
	return known
}

// named gives the manifest with a name whose digest is not known, and completes
// the Ref. Those of salvage backups are remembered: each list shows them, and no
// record needs to pin them.
func (c *manifests) named(ctx context.Context, ref backup.Ref) (backup.Ref, *backup.Manifest, error) {
	if !ref.IsSalvage() {
		return c.loadNamed(ctx, ref)
	}
	c.mu.Lock()
	n, known := c.names[ref.Key]
	c.mu.Unlock()
	if known {
		return n.ref, n.m, nil
	}
	full, m, err := c.loadNamed(ctx, ref)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		forgetAny(c.names, maxManifests)
		c.names[ref.Key] = namedManifest{full, m}
	}
	return full, m, err
}

func (c *manifests) loadNamed(ctx context.Context, ref backup.Ref) (backup.Ref, *backup.Manifest, error) {
	if c.cache != nil {
		if cached, m, err := c.cache.Manifest(c.repo, ref.ID); err == nil && cached.Key == ref.Key {
			return cached, m, nil
		}
	}
	return c.repo.LoadNamed(ctx, ref)
}

// remember reads the manifest with a name, if it can be read.
func (c *manifests) remember(ctx context.Context, ref backup.Ref) {
	if ref, m, err := c.named(ctx, ref); err == nil {
		c.addLink(ref, m)
	}
}

// info describes the backup that ref pins, and gives the one before it. Both
// are for reading.
func (c *manifests) info(ctx context.Context, ref backup.Ref) (BackupInfo, *backup.Ref, error) {
	c.mu.Lock()
	l, known := c.links[ref.Digest]
	c.mu.Unlock()
	if known {
		return l.info, l.previous, nil
	}
	m, err := c.get(ctx, ref)
	if err != nil {
		return BackupInfo{}, nil, err
	}
	l = c.addLink(ref, m)
	return l.info, l.previous, nil
}

func (c *manifests) addLink(ref backup.Ref, m *backup.Manifest) link {
	l := link{info: InfoOf(ref, m), previous: m.Previous}
	c.mu.Lock()
	defer c.mu.Unlock()
	forgetAny(c.links, maxLinks)
	c.links[ref.Digest] = l
	return l
}

// forget has the manifests with these keys read again.
func (c *manifests) forget(keys map[string]bool) {
	ids := make(map[string]bool, len(keys))
	for key := range keys {
		if ref, err := backup.ParseKey(key); err == nil {
			ids[ref.ID] = true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.names, func(key string, _ namedManifest) bool { return keys[key] })
	maps.DeleteFunc(c.links, func(_ string, l link) bool { return keys[l.info.Key] })
	maps.DeleteFunc(c.known, func(_ string, m *backup.Manifest) bool { return ids[m.ID] })
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

// forgetAny makes room for one in a map that may have max. What is forgotten can
// be read again.
func forgetAny[V any](known map[string]V, max int) {
	for digest := range known {
		if len(known) < max {
			break
		}
		delete(known, digest)
	}
}

// add remembers a manifest.
func (c *manifests) add(ref backup.Ref, m *backup.Manifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	forgetAny(c.known, maxManifests)
	c.known[ref.Digest] = m
}
