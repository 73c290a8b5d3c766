package storetest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

const day = 24 * time.Hour

var _ blobstore.Lifecycle = (*Memory)(nil)

// Rules implements blobstore.Lifecycle. Own rules come after all others.
func (m *Memory) Rules(ctx context.Context) ([]blobstore.Rule, error) {
	if err := ctx.Err(); err != nil {
		return nil, fail("read lifecycle", "", blobstore.ErrUnavailable, err)
	}
	if m.NoRules {
		return nil, fail("read lifecycle", "", blobstore.ErrInvalid, blobstore.ErrNoRules)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.rules), nil
}

// SetRules implements blobstore.Lifecycle. Nothing is deleted before
// Expire.
func (m *Memory) SetRules(ctx context.Context, own []blobstore.Rule) error {
	if err := ctx.Err(); err != nil {
		return fail("write lifecycle", "", blobstore.ErrUnavailable, err)
	}
	if m.NoRules {
		return fail("write lifecycle", "", blobstore.ErrInvalid, blobstore.ErrNoRules)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ForgetRules {
		return nil
	}
	rules := slices.DeleteFunc(slices.Clone(m.rules), func(r blobstore.Rule) bool { return r.Own })
	for _, rule := range own {
		rule.Own = true
		rules = append(rules, rule)
	}
	m.rules = rules
	return nil
}

// AddRule adds a rule that is not the store's own, as somebody does who sets
// up the bucket.
func (m *Memory) AddRule(rule blobstore.Rule) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rule.Own = false
	m.rules = append([]blobstore.Rule{rule}, m.rules...)
}

// Expire deletes what the rules say at a time, and returns its keys in order.
// A blob goes at the very moment at which it has a rule's age; real buckets
// wait for the next midnight, or longer. A rule that is Narrowed spares
// everything. There are no noncurrent versions and no uploads to delete.
func (m *Memory) Expire(now time.Time) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var gone []string
	for key, v := range m.blobs {
		if slices.ContainsFunc(m.rules, func(r blobstore.Rule) bool { return expires(r, v.attrs, now) }) {
			gone = append(gone, key)
			delete(m.blobs, key)
		}
	}
	slices.Sort(gone)
	return gone
}

func expires(r blobstore.Rule, blob blobstore.Attrs, now time.Time) bool {
	return r.Days > 0 && !r.Narrowed && strings.HasPrefix(blob.Key, r.Prefix) &&
		!now.Before(blob.Time.Add(time.Duration(r.Days)*day))
}
