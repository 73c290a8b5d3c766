package agent

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

// retention is the kind of the events about what expires, and when.
const retentionKind = "retention"

// Who deletes what has expired.
const (
	AppliedByBucket = "bucket" // by its own rules
	AppliedByAgent  = "agent"  // the active's, in whole or in part
)

// expiry knows by which rules the bucket deletes, as last read back, and what
// this process has deleted. It is safe for concurrent use.
type expiry struct {
	mu      sync.Mutex
	rules   []blobstore.Rule
	readAt  *time.Time // by the store's clock; nil: not yet, or there is nothing to read
	failure string     // why they could not be read last
	until   time.Time  // the rule for packs stays longer until then
	deleted int64
	sweptAt *time.Time
	risk    string // what is wrong with the newest backup's age
}

func (e *expiry) change(do func(*expiry)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	do(e)
}

// inForce gives the rules as last read back.
func (e *expiry) inForce() []blobstore.Rule {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rules
}

// standing is what a configuration's retention comes to in this bucket.
func (a *Agent) standing(c *ha.Config) retention.Effect {
	return control.Configured(c).Under(a.expiry.inForce())
}

const (
	rulesEvery    = time.Hour       // between two reads of the bucket's rules
	badRulesEvery = 5 * time.Minute // while they delete too soon, or cannot be read
	judgeEvery    = time.Minute     // between two looks at what they come to
)

// keepRules reads the bucket's rules at start and then every hour, and tells
// of what they come to.
func (a *Agent) keepRules(ctx context.Context) error {
	var j judge
	var next time.Duration
	return a.whenAdmitted(ctx, func() time.Duration {
		if now := a.cfg.Clock.Now().Mono; now >= next {
			a.readRules(ctx)
			a.readLock(ctx)
			next = now + rulesEvery
			if !j.look(ctx, a) { // somebody may be putting them right
				next = now + badRulesEvery
			}
		}
		j.look(ctx, a)
		return judgeEvery
	})
}

// whenAdmitted does something again and again, with the pauses that it gives,
// once the bucket may be used, until ctx is done.
func (a *Agent) whenAdmitted(ctx context.Context, do func() time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-a.admitted:
	}
	for {
		if err := wait(ctx, do()); err != nil {
			return err
		}
	}
}

// readRules reads the bucket's rules. While they cannot be read those count
// that were read last.
func (a *Agent) readRules(ctx context.Context) {
	if a.cfg.Lifecycle == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.RequestTimeout)
	defer cancel()
	rules, err := a.cfg.Lifecycle.Rules(ctx)
	if errors.Is(err, blobstore.ErrNoRules) {
		rules, err = nil, nil // so the active deletes
	}
	now := a.control.Time()
	a.expiry.change(func(e *expiry) {
		if err != nil {
			e.failure = err.Error()
			return
		}
		e.rules, e.readAt, e.failure = rules, &now, ""
	})
}

// judge tells, on the active, when what the rules come to has changed, and
// when they are unsafe.
type judge struct{ told, failure string }

// It reports whether all is well.
func (j *judge) look(ctx context.Context, a *Agent) (well bool) {
	_, c := a.configs.current()
	if c == nil || !a.view().Leading {
		j.told = "" // another instance tells meanwhile
		return true
	}
	s := a.retentionStatus(c)
	if s.Error != j.failure && s.Error != "" && j.failure == "" {
		a.note(ctx, event.Warn, retentionKind, "the bucket's rules cannot be read, and those read last count: "+s.Error, nil)
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
		a.note(ctx, event.Alarm, retentionKind, text, nil)
	case len(s.ShortVersions) > 0:
		a.note(ctx, event.Warn, retentionKind, text, nil)
	case !first:
		a.note(ctx, event.Info, retentionKind, text, nil)
	}
	return well
}
