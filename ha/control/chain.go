package control

import (
	"context"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
)

// Chain is the backups of a cluster: those that the head leads to, those that
// promotions have cut off, and salvage backups. It remembers the manifests that it
// has verified. It is safe for concurrent use.
type Chain struct {
	store *Store
	known *manifests
}

// Cache has backups on this host.
type Cache interface {
	// Manifest reads the verified manifest of a cached backup; one that is not there
	// is an error.
	Manifest(repo *backup.Repository, id string) (backup.Ref, *backup.Manifest, error)
}

// NewChain is the chain of backups in a cluster's bucket. Manifests are read from
// the cache, where there is one (nil: there is none), before the bucket is asked.
func NewChain(s *Store, cache Cache) *Chain {
	return &Chain{store: s, known: newManifests(s.Repository(), cache)}
}

// Manifest returns the manifest that ref pins, verified.
func (c *Chain) Manifest(ctx context.Context, ref backup.Ref) (*backup.Manifest, error) {
	return c.known.get(ctx, ref)
}

// Remember takes in a manifest that this process has written.
func (c *Chain) Remember(ref backup.Ref, m *backup.Manifest) { c.known.add(ref, m) }

// Forget has the manifests with these keys read again.
func (c *Chain) Forget(keys map[string]bool) { c.known.forget(keys) }

// Branches are the backups with which branches begin, but for the present chain:
// those that promotions have cut off, and salvage backups. What is older than oldest
// is left out.
func (c *Chain) Branches(ctx context.Context, h *ha.Head, oldest time.Time) ([]backup.Ref, error) {
	t, err := c.store.tips(ctx, h, oldest)
	if err != nil {
		return nil, err
	}
	salvages, err := c.salvages(ctx, mostSalvages, func(ref backup.Ref, _ time.Time) bool { return !ref.Time.Before(oldest) })
	if err != nil {
		return nil, err
	}
	var all []backup.Ref
	add := func(ref backup.Ref) {
		if !ref.Time.Before(oldest) && (h.Newest == nil || ref.ID != h.Newest.ID) {
			all = append(all, ref)
		}
	}
	for _, tip := range t.all {
		add(tip.ref)
	}
	for _, s := range salvages {
		if s.err == nil {
			add(s.ref)
		}
	}
	return all, nil
}

// Chain is the chain of backups, read from the bucket alone.
func (s *Store) Chain() *Chain { return NewChain(s, nil) }

// AuditLog is the audit log, read from the bucket alone.
func (s *Store) AuditLog() *AuditLog { return NewAuditLog(s.Chain()) }
