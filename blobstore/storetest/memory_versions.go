package storetest

import (
	"bytes"
	"context"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/blobstore"
)

var _ blobstore.Versions = (*Memory)(nil)

// keep remembers a version. The caller holds the lock.
func (m *Memory) keep(v version) {
	if !m.Versioned {
		return
	}
	if m.past == nil {
		m.past = make(map[string][]version)
	}
	m.past[v.attrs.Key] = append(m.past[v.attrs.Key], v)
}

// KeepsVersions implements blobstore.Versions.
func (m *Memory) KeepsVersions(context.Context) (bool, error) { return m.Versioned, nil }

// Versions implements blobstore.Versions. It yields what the store held when
// the iteration began.
func (m *Memory) Versions(ctx context.Context, prefix string) iter.Seq2[blobstore.Version, error] {
	return func(yield func(blobstore.Version, error) bool) {
		m.mu.Lock()
		past := maps.Clone(m.past)
		m.mu.Unlock()
		for _, key := range slices.Sorted(maps.Keys(past)) {
			if !strings.HasPrefix(key, prefix) {
				continue
			}
			for _, v := range slices.Backward(past[key]) {
				if err := ctx.Err(); err != nil {
					yield(blobstore.Version{}, fail("list versions", prefix, blobstore.ErrUnavailable, err))
					return
				}
				if !yield(blobstore.Version{Attrs: v.attrs, ID: string(v.attrs.Token), Deleted: v.deleted}, nil) {
					return
				}
			}
		}
	}
}

// GetVersion implements blobstore.Versions.
func (m *Memory) GetVersion(ctx context.Context, key, id string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	if err := check(ctx, "get", key); err != nil {
		return nil, blobstore.Attrs{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range m.past[key] {
		if string(v.attrs.Token) == id && !v.deleted {
			body, err := v.part(opt)
			if err != nil {
				return nil, blobstore.Attrs{}, fail("get", key, blobstore.ErrInvalid, err)
			}
			return io.NopCloser(bytes.NewReader(body)), v.attrs, nil
		}
	}
	return nil, blobstore.Attrs{}, fail("get", key, blobstore.ErrNotFound, nil)
}
