package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
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

// configured is the retention that a configuration asks for.
func configured(c *ha.Config) retention.Policy {
	return retention.Policy{Keep: time.Duration(c.Retention), Reuse: time.Duration(c.ReuseWindow)}
}

// standing is what a configuration's retention comes to in this bucket.
func (a *Agent) standing(c *ha.Config) retention.Effect {
	return configured(c).Under(a.expiry.inForce())
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
	now := a.bucket.storeTime()
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

// controlKeys are the keys, and the beginnings of keys, that no rule may touch.
var controlKeys = []string{ha.ClusterKey, ha.HeadKey, ha.LeaseKey, "config/", "demote/", ha.InstancesPrefix}

// Rules are the rules that a retention wants its bucket to have.
func Rules(r retention.Policy) []blobstore.Rule {
	return append(r.Rules(controlKeys...), blobstore.Rule{
		Name: "understudy probe", Prefix: scratchFolder, NoncurrentDays: int(scratchLife / (24 * time.Hour)),
	})
}

// ShortVersions says of each rule that deletes earlier versions sooner than
// Rules would what is lost by that, and what to do.
func ShortVersions(r retention.Policy, rules []blobstore.Rule) []string {
	return r.ShortVersions(rules, controlKeys...)
}

// Threats says of each rule that would delete control objects what it does,
// after how many days, and what to do about it.
func Threats(rules []blobstore.Rule) []string {
	var all []string
	for _, rule := range rules {
		var touched []string
		for _, key := range controlKeys {
			if retention.Touches(rule, key) {
				touched = append(touched, key)
			}
		}
		if len(touched) > 0 {
			all = append(all, fmt.Sprintf("%s deletes control objects (%s) after %d days, and the cluster would be lost: take them out of it",
				retention.RuleName(rule), strings.Join(touched, ", "), rule.Days))
		}
	}
	return all
}

// Promise is what the configuration in force asks of the bucket's rules.
type Promise struct {
	Configured retention.Policy
	// Rules is what the rules must be made from now: the same, with the reuse
	// window that it had before while that is still needed, until Until.
	Rules retention.Policy
	Until time.Time // by the store's clock; zero: nothing is waited for
}

// Promise reads what the configuration in force asks of the bucket's rules. It
// needs no running agent.
func (b *Bucket) Promise(ctx context.Context) (Promise, error) {
	object, attrs, err := b.read(ctx, ha.KindHead, ha.HeadKey, "")
	if err != nil {
		return Promise{}, err
	}
	h := object.(*ha.Head)
	c, err := b.Config(ctx, h)
	if err != nil {
		return Promise{}, err
	}
	// The store's clock has come at least to where the head was written.
	return b.promise(ctx, h.Config, c, attrs.Time, make(map[string]retention.Policy))
}

// promise computes the promise of the configuration in force at time now. known
// remembers, between calls, what earlier configurations asked for.
func (b *Bucket) promise(ctx context.Context, digest string, c *ha.Config, now time.Time, known map[string]retention.Policy) (Promise, error) {
	p := Promise{Configured: configured(c)}
	terms, err := b.terms(ctx, digest, now.Add(-p.Configured.ManifestLife()), known)
	if err != nil {
		return p, fmt.Errorf("look for earlier configurations: %w", err)
	}
	p.Rules, p.Until = retention.Promised(p.Configured, terms, now)
	return p, nil
}

// terms gives what was configured before the configuration in force, as far as
// that ended after since: each configuration is written, or written again, when
// it comes into force. One that cannot be verified was never in force, or what
// was made under it cannot be verified either.
func (b *Bucket) terms(ctx context.Context, inForce string, since time.Time, known map[string]retention.Policy) ([]retention.Period, error) {
	const folder = "config/"
	listed, names, err := b.names(ctx, folder)
	if err != nil {
		return nil, err
	}
	var terms []retention.Period
	for i, name := range names {
		until := time.Time{}
		for _, other := range listed { // the next one to be written ended it
			if other.Time.After(listed[i].Time) && (until.IsZero() || other.Time.Before(until)) {
				until = other.Time
			}
		}
		if name == inForce || !until.IsZero() && until.Before(since.Add(-2*24*time.Hour)) {
			continue
		}
		if until.IsZero() {
			until = listed[i].Time // it never came into force
		}
		r, found := known[name]
		if !found {
			object, _, err := b.read(ctx, ha.KindConfig, ha.ConfigKey(name), "")
			if errors.Is(err, ErrUnverified) || errors.Is(err, blobstore.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			r = configured(object.(*ha.Config))
			known[name] = r
		}
		terms = append(terms, retention.Period{Policy: r, Until: until})
	}
	return terms, nil
}
