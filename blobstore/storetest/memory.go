package storetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

// Memory is a store in memory, for tests. Its zero value is an empty store.
// Every write gets a token of its own, even if it writes the same bytes again.
// Its lifecycle rules are applied by Expire, at any time that a test likes.
type Memory struct {
	// Now is the store's clock; nil means time.Now. Set it before first use.
	Now func() time.Time
	// ForgetRules makes it a store that accepts lifecycle rules and does not
	// keep them. Set it before first use.
	ForgetRules bool
	// NoRules makes it a store that does not know what rules are.
	NoRules bool
	// Versioned makes it a store that keeps versions. Set it before first use.
	Versioned bool
	// Locking is how what is written is to be locked; nothing is refused for
	// that, and a test looks at LockOf. Set it before first use.
	Locking blobstore.LockMode
	// LockedFor is the bucket's default retention; 0: it has none. Nothing is locked
	// by it.
	LockedFor time.Duration

	mu     sync.Mutex
	rules  []blobstore.Rule
	blobs  map[string]version
	past   map[string][]version // every version, the oldest first, where they are kept
	writes uint64
}

type version struct {
	body    []byte
	attrs   blobstore.Attrs
	deleted bool
	lock    blobstore.Lock
}

var _ blobstore.Store = (*Memory)(nil)

// NewMemory returns an empty store on the wall clock.
func NewMemory() *Memory { return new(Memory) }

// Get implements blobstore.Store.
func (m *Memory) Get(ctx context.Context, key string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	v, err := m.look(ctx, "get", key)
	if err != nil {
		return nil, blobstore.Attrs{}, err
	}
	if opt.IfChanged != "" && opt.IfChanged == v.attrs.Token {
		return nil, blobstore.Attrs{}, fail("get", key, blobstore.ErrNotModified, nil)
	}
	body, err := v.part(opt)
	if err != nil {
		return nil, blobstore.Attrs{}, fail("get", key, blobstore.ErrInvalid, err)
	}
	return io.NopCloser(bytes.NewReader(body)), v.attrs, nil
}

// part is what a read asks for of the body.
func (v version) part(opt blobstore.GetOptions) ([]byte, error) {
	size := int64(len(v.body))
	if opt.Offset < 0 || opt.Length < 0 || opt.Offset > 0 && opt.Offset >= size {
		return nil, fmt.Errorf("range %d+%d of %d bytes", opt.Offset, opt.Length, size)
	}
	body := v.body[opt.Offset:]
	if opt.Length > 0 {
		body = body[:min(opt.Length, int64(len(body)))]
	}
	return body, nil
}

// Stat implements blobstore.Store.
func (m *Memory) Stat(ctx context.Context, key string) (blobstore.Attrs, error) {
	v, err := m.look(ctx, "stat", key)
	return v.attrs, err
}

// Put implements blobstore.Store.
func (m *Memory) Put(ctx context.Context, key string, body []byte, cond blobstore.Condition) (blobstore.Attrs, error) {
	if err := check(ctx, "put", key); err != nil {
		return blobstore.Attrs{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old, found := m.blobs[key]
	if cond.Absent() && found || cond.Match() != "" && (!found || cond.Match() != old.attrs.Token) {
		return blobstore.Attrs{}, fail("put", key, blobstore.ErrPrecondition, nil)
	}
	if m.blobs == nil {
		m.blobs = make(map[string]version)
	}
	m.writes++
	v := version{body: bytes.Clone(body), attrs: blobstore.Attrs{
		Key:   key,
		Size:  int64(len(body)),
		Token: blobstore.Token(fmt.Sprintf("write-%d", m.writes)),
		Time:  m.now(),
	}, lock: cond.Lock()}
	m.blobs[key] = v
	m.keep(v)
	return v.attrs, nil
}

// List implements blobstore.Store. It yields what the store held when the
// iteration began.
func (m *Memory) List(ctx context.Context, prefix, after string) iter.Seq2[blobstore.Attrs, error] {
	return func(yield func(blobstore.Attrs, error) bool) {
		if err := blobstore.CheckPrefix(prefix); err != nil {
			yield(blobstore.Attrs{}, fail("list", prefix, blobstore.ErrInvalid, err))
			return
		}
		for _, attrs := range m.snapshot(prefix, after) {
			if err := ctx.Err(); err != nil {
				yield(blobstore.Attrs{}, fail("list", prefix, blobstore.ErrUnavailable, err))
				return
			}
			if !yield(attrs, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(blobstore.Attrs{}, fail("list", prefix, blobstore.ErrUnavailable, err))
		}
	}
}

// Delete implements blobstore.Store.
func (m *Memory) Delete(ctx context.Context, key string) error {
	if err := check(ctx, "delete", key); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, found := m.blobs[key]; found {
		m.writes++
		m.keep(version{deleted: true, attrs: blobstore.Attrs{Key: key, Time: m.now(), Token: blobstore.Token(fmt.Sprintf("write-%d", m.writes))}})
	}
	delete(m.blobs, key)
	return nil
}

// Keys returns the keys of all blobs, in order.
func (m *Memory) Keys() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.blobs))
}

func (m *Memory) look(ctx context.Context, op, key string) (version, error) {
	if err := check(ctx, op, key); err != nil {
		return version{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.blobs[key]
	if !ok {
		return version{}, fail(op, key, blobstore.ErrNotFound, nil)
	}
	return v, nil
}

func (m *Memory) snapshot(prefix, after string) []blobstore.Attrs {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []blobstore.Attrs
	for key, v := range m.blobs {
		if key > after && strings.HasPrefix(key, prefix) {
			found = append(found, v.attrs)
		}
	}
	slices.SortFunc(found, func(a, b blobstore.Attrs) int { return strings.Compare(a.Key, b.Key) })
	return found
}

func (m *Memory) now() time.Time {
	if m.Now == nil {
		return time.Now()
	}
	return m.Now()
}

func check(ctx context.Context, op, key string) error {
	if err := ctx.Err(); err != nil {
		return fail(op, key, blobstore.ErrUnavailable, err)
	}
	if err := blobstore.CheckKey(key); err != nil {
		return fail(op, key, blobstore.ErrInvalid, err)
	}
	return nil
}

func fail(op, key string, kind, err error) error {
	return &blobstore.Error{Op: op, Key: key, Kind: kind, Err: err}
}
