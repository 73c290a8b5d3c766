package blobstore

import (
	"context"
	"errors"
)

// ErrRulesLost says that a bucket accepted rules and does not have them.
var ErrRulesLost = errors.New("the store accepted the lifecycle rules, and does not have them")

// ErrNoRules says that a store has no lifecycle rules at all, though its
// provider's protocol does: it does not know the request. Its user deletes for
// itself.
var ErrNoRules = errors.New("the store has no lifecycle rules")

// Rule is one rule by which a bucket deletes on its own, as far as it
// touches a store's keys. Ages are whole days in the store's time.
type Rule struct {
	// Name is how the provider's own tools show the rule; may be empty.
	Name string
	// Prefix is of the keys that the rule is about, relative to the store; "" is
	// all of them, and what a rule for more than the store is seen as.
	Prefix string
	// Days is the age at which a blob goes; 0: the rule deletes no current blob.
	Days int
	// NoncurrentDays is how long a version stays that was overwritten or
	// deleted, in a bucket that keeps versions; 0: the rule deletes none.
	NoncurrentDays int
	// UploadDays is the age at which an upload goes that was never completed;
	// 0: the rule is not about those.
	UploadDays int
	// Own is true of the rules that SetRules made for this store.
	Own bool
	// Narrowed is true when the rule has further conditions (tags, sizes, …),
	// so that it may spare what it seems to be about.
	Narrowed bool
}

// Lifecycle is what a provider has whose buckets delete by rules. A store
// that does not implement it has none: its user deletes for itself.
type Lifecycle interface {
	// Rules reads the rules in force that touch the store's keys. A bucket
	// without rules has none, without an error. A store that has no rules at
	// all is ErrNoRules, here and in SetRules.
	Rules(ctx context.Context) ([]Rule, error)
	// SetRules makes these the store's own rules, and leaves all others in
	// the bucket as they are. What of them a store does not take (uploads,
	// versions) it leaves out. It does not read them back: some stores forget
	// what they accepted. The bucket's rules are replaced as a whole and
	// without a condition, so that two at once may undo each other.
	SetRules(ctx context.Context, own []Rule) error
}
