package storetest

import (
	"context"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

var _ blobstore.Locks = (*Memory)(nil)

// LockMode implements blobstore.Locks.
func (m *Memory) LockMode(context.Context) (blobstore.LockMode, error) { return m.Locking, nil }

// DefaultLock implements blobstore.DefaultLock.
func (m *Memory) DefaultLock(context.Context) (blobstore.LockMode, time.Duration, error) {
	if m.LockedFor == 0 {
		return blobstore.NoLock, 0, nil
	}
	return blobstore.Governance, m.LockedFor, nil
}

// LockOf implements blobstore.Locks.
func (m *Memory) LockOf(ctx context.Context, key string) (blobstore.Lock, error) {
	v, err := m.look(ctx, "read lock of", key)
	return v.lock, err
}

// ExtendLock implements blobstore.Locks.
func (m *Memory) ExtendLock(ctx context.Context, key string, l blobstore.Lock) error {
	v, err := m.look(ctx, "lock", key)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v.lock = l
	m.blobs[key] = v
	return nil
}

// DeleteVersion implements blobstore.Locks.
func (m *Memory) DeleteVersion(_ context.Context, key, id string, bypass bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, v := range m.past[key] {
		if string(v.attrs.Token) != id {
			continue
		}
		if m.now().Before(v.lock.Until) && !(bypass && v.lock.Mode == blobstore.Governance) {
			return fail("delete version of", key, blobstore.ErrDenied, nil)
		}
		m.past[key] = slices.Delete(slices.Clone(m.past[key]), i, i+1)
	}
	return nil
}
