package gcsstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

// ruleTries is how often SetRules reads the rules again because somebody
// else has changed the bucket.
const ruleTries = 5

// Rules implements blobstore.Lifecycle. A rule that does not go by age
// alone is given the least age at which it may delete.
func (s *Store) Rules(ctx context.Context) ([]blobstore.Rule, error) {
	set, err := s.api.rules(ctx)
	if err != nil {
		return nil, translator.Error("read lifecycle", s.api.bucket, err)
	}
	var found []blobstore.Rule
	for _, raw := range set.rules {
		r, err := parseRule(raw)
		if err != nil {
			return nil, edge.Fail("read lifecycle", s.api.bucket, blobstore.ErrUnavailable, err)
		}
		for _, expiry := range r.expiries(s.prefix) {
			found = merge(found, expiry)
		}
	}
	return found, nil
}

// merge adds an expiry. The store's own are put together by prefix: a rule of
// Google's has one age, and may delete as soon as that is reached.
func merge(found []blobstore.Rule, e blobstore.Rule) []blobstore.Rule {
	i := slices.IndexFunc(found, func(f blobstore.Rule) bool { return f.Own && f.Prefix == e.Prefix })
	if !e.Own || i < 0 {
		return append(found, e)
	}
	found[i].Days = sooner(found[i].Days, e.Days)
	found[i].NoncurrentDays = sooner(found[i].NoncurrentDays, e.NoncurrentDays)
	return found
}

// sooner is the lesser of two ages, of which 0 is none.
func sooner(a, b int) int {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// SetRules implements blobstore.Lifecycle. Uploads are left out: this store
// makes none that could stay incomplete. A rule for a whole bucket cannot be
// told from somebody else's: it is added if there is none like it, and never
// taken away.
func (s *Store) SetRules(ctx context.Context, own []blobstore.Rule) error {
	fail := func(kind, err error) error {
		return edge.Fail("write lifecycle", s.api.bucket, kind, err)
	}
	wanted, err := s.encode(own)
	if err != nil {
		return fail(blobstore.ErrInvalid, err)
	}
	for try := 1; ; try++ {
		set, err := s.api.rules(ctx)
		if err != nil {
			return translator.Error("read lifecycle", s.api.bucket, err)
		}
		if set.rules, err = s.replaceOwn(set.rules, wanted); err != nil {
			return fail(blobstore.ErrUnavailable, err)
		}
		err = s.api.replaceRules(ctx, set)
		if err == nil {
			return nil
		}
		if try == ruleTries || !errors.Is(kindOf(err), blobstore.ErrPrecondition) {
			return translator.Error("write lifecycle", s.api.bucket, err)
		}
	}
}

// replaceOwn returns the rules with the store's own exchanged, and all others
// as they are.
func (s *Store) replaceOwn(all, wanted []json.RawMessage) ([]json.RawMessage, error) {
	var kept []json.RawMessage
	for _, raw := range all {
		r, err := parseRule(raw)
		if err != nil {
			return nil, err
		}
		if !r.own(s.prefix) {
			kept = append(kept, raw)
		}
	}
	others := len(kept)
	for _, raw := range wanted {
		same := func(other json.RawMessage) bool { return sameJSON(raw, other) }
		if !slices.ContainsFunc(kept[:others], same) {
			kept = append(kept, raw)
		}
	}
	return kept, nil
}

// encode makes rules of expiries, one for each age.
func (s *Store) encode(own []blobstore.Rule) ([]json.RawMessage, error) {
	var encoded []json.RawMessage
	for _, e := range own {
		if err := blobstore.CheckPrefix(e.Prefix); err != nil {
			return nil, fmt.Errorf("rule for %q: %w", e.Prefix, err)
		}
		if min(e.Days, e.NoncurrentDays) < 0 || max(e.Days, e.NoncurrentDays) > math.MaxInt32 {
			return nil, fmt.Errorf("rule for %q: %d or %d days are no age", e.Prefix, e.Days, e.NoncurrentDays)
		}
		for _, c := range []condition{{Age: &e.Days}, {NoncurrentDays: &e.NoncurrentDays}} {
			if c.Age != nil && *c.Age == 0 || c.NoncurrentDays != nil && *c.NoncurrentDays == 0 {
				continue
			}
			if prefix := s.prefix + e.Prefix; prefix != "" {
				c.MatchesPrefix = []string{prefix}
			}
			r := rule{Condition: c}
			r.Action.Type = actionDelete
			raw, err := json.Marshal(r)
			if err != nil {
				return nil, fmt.Errorf("rule for %q: %w", e.Prefix, err)
			}
			encoded = append(encoded, raw)
		}
	}
	return encoded, nil
}

// sameJSON reports whether two documents say the same.
func sameJSON(a, b json.RawMessage) bool {
	canonical := func(raw json.RawMessage) []byte {
		var value any
		if json.Unmarshal(raw, &value) != nil {
			return raw
		}
		text, err := json.Marshal(value) // sorts the names
		if err != nil {
			return raw
		}
		return text
	}
	return bytes.Equal(canonical(a), canonical(b))
}
