package gcsstore

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/understudy-ha/understudy/blobstore"
)

// The actions of a rule that delete.
const (
	actionDelete = "Delete"
	actionAbort  = "AbortIncompleteMultipartUpload"
)

// rule is what this package understands of a lifecycle rule.
type rule struct {
	Action struct {
		Type string `json:"type"`
	} `json:"action"`
	Condition condition `json:"condition"`
}

// condition is what must all be so for a rule to act.
type condition struct {
	Age            *int     `json:"age,omitempty"`                     // days since it was written
	NoncurrentDays *int     `json:"daysSinceNoncurrentTime,omitempty"` // days since it was replaced
	MatchesPrefix  []string `json:"matchesPrefix,omitempty"`           // any of them; none: all names

	live       *bool // isLive: current blobs alone, or noncurrent versions alone
	noncurrent bool  // a further condition holds for noncurrent versions alone
	further    bool  // there is any condition besides the above
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *condition) UnmarshalJSON(data []byte) error {
	type known condition
	if err := json.Unmarshal(data, (*known)(c)); err != nil {
		return err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	for name, value := range all {
		switch name {
		case "age", "daysSinceNoncurrentTime", "matchesPrefix":
			continue
		case "isLive":
			if err := json.Unmarshal(value, &c.live); err != nil {
				return err
			}
			continue
		case "numNewerVersions", "noncurrentTimeBefore":
			c.noncurrent = true
		}
		c.further = true
	}
	return nil
}

// parseRule reads a rule.
func parseRule(raw json.RawMessage) (rule, error) {
	var r rule
	if err := json.Unmarshal(raw, &r); err != nil {
		return rule{}, fmt.Errorf("read lifecycle rule %s: %w", raw, err)
	}
	return r, nil
}

// own reports whether a rule is one that this package makes for a store with
// the prefix. Google's rules have no names, so it goes by their form: it
// deletes, below one prefix of the store's, by one age and nothing else.
func (r rule) own(prefix string) bool {
	c := r.Condition
	return r.Action.Type == actionDelete && c.live == nil && !c.further && (c.Age == nil) != (c.NoncurrentDays == nil) &&
		len(c.MatchesPrefix) == 1 && c.MatchesPrefix[0] != "" && strings.HasPrefix(c.MatchesPrefix[0], prefix)
}

// expiries says what a rule deletes of a store with the prefix.
func (r rule) expiries(prefix string) []blobstore.Rule {
	effect, deletes := r.effect()
	if !deletes {
		return nil
	}
	effect.Own = r.own(prefix)
	matches := r.Condition.MatchesPrefix
	if len(matches) == 0 {
		matches = []string{""}
	}
	var found []blobstore.Rule
	for _, match := range matches {
		below, ok := strings.CutPrefix(match, prefix)
		if !ok && !strings.HasPrefix(prefix, match) {
			continue // somebody else's names
		}
		if !ok {
			below = ""
		}
		effect.Prefix = below
		found = append(found, effect)
	}
	return found
}

// effect says what a rule deletes, wherever, and whether it does so at all.
func (r rule) effect() (blobstore.Rule, bool) {
	c := r.Condition
	effect := blobstore.Rule{Narrowed: c.further}
	switch {
	case r.Action.Type == actionAbort:
		effect.UploadDays = days(c.Age)
	case r.Action.Type != actionDelete:
		return blobstore.Rule{}, false
	case c.NoncurrentDays != nil:
		effect.NoncurrentDays = days(c.NoncurrentDays)
		effect.Narrowed = c.further || c.Age != nil
	case c.noncurrent, c.live != nil && !*c.live:
		effect.NoncurrentDays = days(c.Age)
	default:
		effect.Days = days(c.Age)
	}
	return effect, true
}

// days is the least age in whole days at which a rule deletes. It deletes once
// a day at most, and one that asks for no age may do so the next time.
func days(age *int) int {
	if age == nil {
		return 1
	}
	return max(1, *age)
}
