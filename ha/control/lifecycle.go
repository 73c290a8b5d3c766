package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// Configured is the retention that a configuration asks for.
func Configured(c *ha.Config) retention.Policy {
	return retention.Policy{Keep: time.Duration(c.Retention), Reuse: time.Duration(c.ReuseWindow)}
}

// Keys are the keys of control objects, and the beginnings of keys, that no rule may touch.
var Keys = []string{ha.ClusterKey, ha.HeadKey, ha.LeaseKey, ConfigFolder, DemoteFolder, ha.InstancesPrefix}

// Rules are the rules that a retention wants its bucket to have.
func Rules(r retention.Policy) []blobstore.Rule {
	return append(r.Rules(Keys...), blobstore.Rule{
		Name: "understudy probe", Prefix: ScratchPrefix, NoncurrentDays: int(ScratchLife / (24 * time.Hour)),
	})
}

// ShortVersions says of each rule that deletes earlier versions sooner than
// Rules would what is lost by that, and what to do.
func ShortVersions(r retention.Policy, rules []blobstore.Rule) []string {
	return r.ShortVersions(rules, Keys...)
}

// Threats says of each rule that would delete control objects what it does,
// after how many days, and what to do about it.
func Threats(rules []blobstore.Rule) []string {
	var all []string
	for _, rule := range rules {
		var touched []string
		for _, key := range Keys {
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

// Promise reads what the configuration in force asks of the bucket's rules.
func (s *Store) Promise(ctx context.Context) (Promise, error) {
	object, attrs, err := s.Read(ctx, ha.KindHead, ha.HeadKey, "")
	if err != nil {
		return Promise{}, err
	}
	h := object.(*ha.Head)
	c, err := s.Config(ctx, h)
	if err != nil {
		return Promise{}, err
	}
	// The store's clock has come at least to where the head was written.
	return s.PromiseOf(ctx, h.Config, c, attrs.Time, make(map[string]retention.Policy))
}

// PromiseOf computes the promise of the configuration in force at time now. known
// remembers, between calls, what earlier configurations asked for.
func (s *Store) PromiseOf(ctx context.Context, digest string, c *ha.Config, now time.Time, known map[string]retention.Policy) (Promise, error) {
	p := Promise{Configured: Configured(c)}
	periods, err := s.periods(ctx, digest, now.Add(-p.Configured.ManifestLife()), known)
	if err != nil {
		return p, fmt.Errorf("look for earlier configurations: %w", err)
	}
	p.Rules, p.Until = retention.Promised(p.Configured, periods, now)
	return p, nil
}

// periods are what was configured before the configuration in force, as far as
// that ended after since: each configuration is written, or written again, when
// it comes into force. One that cannot be verified was never in force, or what
// was made under it cannot be verified either.
func (s *Store) periods(ctx context.Context, inForce string, since time.Time, known map[string]retention.Policy) ([]retention.Period, error) {
	listed, names, err := s.List(ctx, ConfigFolder)
	if err != nil {
		return nil, err
	}
	var periods []retention.Period
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
			object, _, err := s.Read(ctx, ha.KindConfig, ha.ConfigKey(name), "")
			if errors.Is(err, ErrUnverified) || errors.Is(err, blobstore.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			r = Configured(object.(*ha.Config))
			known[name] = r
		}
		periods = append(periods, retention.Period{Policy: r, Until: until})
	}
	return periods, nil
}

// What checks of the store write, and for how long that stays.
const (
	ScratchPrefix = "probe/"
	ScratchLife   = 24 * time.Hour
)
