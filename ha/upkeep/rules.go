package upkeep

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
)

// Who deletes what has expired.
const (
	AppliedByBucket = "bucket" // by its own rules
	AppliedByAgent  = "agent"  // the active's, in whole or in part
)

// Rules knows by which rules the bucket deletes, as last read back, what these leave
// of the retention, and what this process has deleted. It is safe for concurrent use.
type Rules struct {
	host      Host
	lifecycle blobstore.Lifecycle // nil: there are no rules that can be read
	locks     *Locks

	next   time.Duration // monotonic, when the rules are read again; Turn's
	judged judged

	mu      sync.Mutex
	rules   []blobstore.Rule
	readAt  *time.Time // by the store's clock; nil: not yet, or there is nothing to read
	failure string     // why they could not be read last
	until   time.Time  // the rule for packs stays longer until then
	deleted int64
	sweptAt *time.Time
	risk    string // what is wrong with the newest backup's age
}

// NewRules knows no rules yet.
func NewRules(h Host, lifecycle blobstore.Lifecycle, locks *Locks) *Rules {
	return &Rules{host: h, lifecycle: lifecycle, locks: locks}
}

func (r *Rules) change(do func(*Rules)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	do(r)
}

// inForce returns the rules as last read back.
func (r *Rules) inForce() []blobstore.Rule {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rules
}

// Effect is what a configuration's retention comes to in this bucket.
func (r *Rules) Effect(c *ha.Config) retention.Effect {
	return control.Configured(c).Under(r.inForce())
}

// PackLife is for how long packs live by the rules in force; 0 while these are not
// known.
func (r *Rules) PackLife() time.Duration {
	_, c := r.host.Cluster.Config()
	if c == nil {
		return 0
	}
	return r.Effect(c).Effective.PackLife()
}

const (
	rulesEvery    = time.Hour       // between two reads of the bucket's rules
	badRulesEvery = 5 * time.Minute // while they delete too soon, or cannot be read
)

// Turn reads the bucket's rules at first and then every hour, and tells of what they
// come to. It returns when the next turn is due.
func (r *Rules) Turn(ctx context.Context) time.Duration {
	if now := r.host.Clock.Now().Mono; now >= r.next {
		r.read(ctx)
		r.locks.Read(ctx)
		r.next = now + rulesEvery
		if !r.look(ctx) { // somebody may be putting them right
			r.next = now + badRulesEvery
		}
	}
	r.look(ctx)
	return judgeEvery
}

// read reads the bucket's rules. While they cannot be read those count
// that were read last.
func (r *Rules) read(ctx context.Context) {
	if r.lifecycle == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.host.Timeout)
	defer cancel()
	rules, err := r.lifecycle.Rules(ctx)
	if errors.Is(err, blobstore.ErrNoRules) {
		rules, err = nil, nil // so the active deletes
	}
	now := r.host.Control.Time()
	r.change(func(r *Rules) {
		if err != nil {
			r.failure = err.Error()
			return
		}
		r.rules, r.readAt, r.failure = rules, &now, ""
	})
}

// judged is what was told last of what the rules come to.
type judged struct{ told, failure string }

// look tells, on the active, when what the rules come to has changed, and when they
// are unsafe. It reports whether all is well.
func (r *Rules) look(ctx context.Context) (well bool) {
	j := &r.judged
	_, c := r.host.Cluster.Config()
	if c == nil || !r.host.Cluster.View().Leading {
		j.told = "" // another instance tells meanwhile
		return true
	}
	s := r.Status(c)
	if s.Error != j.failure && s.Error != "" && j.failure == "" {
		r.host.Log.Note(ctx, event.Warn, RetentionKind, "the bucket's rules cannot be read, and those read last count: "+s.Error, nil)
	}
	j.failure = s.Error
	text := strings.Join(slices.Concat([]string{s.summary()}, s.Problems, s.ShortVersions), "; ")
	well = s.Error == "" && len(s.Problems) == 0 && len(s.ShortVersions) == 0
	first := j.told == ""
	if text == j.told {
		return well
	}
	j.told = text
	switch {
	case len(s.Problems) > 0:
		r.host.Log.Note(ctx, event.Alarm, RetentionKind, text, nil)
	case len(s.ShortVersions) > 0:
		r.host.Log.Note(ctx, event.Warn, RetentionKind, text, nil)
	case !first:
		r.host.Log.Note(ctx, event.Info, RetentionKind, text, nil)
	}
	return well
}
