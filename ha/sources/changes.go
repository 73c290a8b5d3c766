package sources

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
)

// Changes are the sources that are not what they were, as far as this process
// has found out, and those of them that an operator has confirmed for the next
// backup. It is safe for concurrent use.
type Changes struct {
	log     event.Reporter
	volumes *Volumes
	inForce func() []source.Source

	mu       sync.Mutex
	found    map[string]string // what, by the source's name
	accepted map[string]bool
}

// NewChanges knows of none yet.
func NewChanges(log event.Reporter, volumes *Volumes, inForce func() []source.Source) *Changes {
	return &Changes{log: log, volumes: volumes, inForce: inForce, found: map[string]string{}}
}

// sourceTrouble is the kind of trouble that a changed source is.
const sourceTrouble = "source"

// List returns what was found, by the sources' names.
func (c *Changes) List() []backup.Change {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []backup.Change
	for _, name := range slices.Sorted(maps.Keys(c.found)) {
		all = append(all, backup.Change{Source: name, What: c.found[name]})
	}
	return all
}

// set notes what was found of a source; "" for nothing.
func (c *Changes) set(name, what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if what == "" {
		delete(c.found, name)
		return
	}
	c.found[name] = what
}

func (c *Changes) accept(sources []source.Source) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.accepted == nil {
		c.accepted = map[string]bool{}
	}
	for _, s := range sources {
		c.accepted[s.Name()] = true
	}
}

// IsAccepted reports whether an operator has confirmed that a source has changed.
func (c *Changes) IsAccepted(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.accepted[name]
}

// Spend forgets what was confirmed, once a backup was made of it.
func (c *Changes) Spend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accepted = nil
}

// Tell makes red, or well again, what a backup has found of its sources.
func (c *Changes) Tell(ctx context.Context, sources []source.Source, err error) {
	var refused *backup.ChangedError
	if err != nil && !errors.As(err, &refused) {
		return // it says nothing of what the others look like
	}
	for _, src := range sources {
		what := ""
		if refused != nil {
			i := slices.IndexFunc(refused.Changes, func(one backup.Change) bool { return one.Source == src.Name() })
			if i >= 0 {
				what = refused.Changes[i].What
			}
		}
		c.tell(ctx, src.Name(), what, "no backup of it is published: put it right, or confirm it: understudy backup --accept-change "+src.Name())
	}
}

// tell makes one source red, or well again.
func (c *Changes) tell(ctx context.Context, name, what, advice string) {
	c.set(name, what)
	key := "change of " + name
	if what == "" {
		c.log.TroubleOver(ctx, sourceTrouble, key, "source "+name+" is as it should be again")
		return
	}
	c.log.Trouble(ctx, sourceTrouble, key, fmt.Sprintf("source %s: %s; %s", name, what, advice))
}

// Look tells, on a standby, whether the sources' targets are where they
// were.
func (c *Changes) Look(ctx context.Context) {
	for _, src := range c.inForce() {
		found, err := c.volumes.moved(ctx, src, noMountsWithin)
		if err != nil {
			continue // the blockers of a promotion say it
		}
		c.tell(ctx, src.Name(), strings.Join(found, "; "), "nothing is restored there: mount what is missing, or confirm it on this host: understudy accept-change "+src.Name())
	}
}

// Accept is an operator's word that sources have changed as they should: all that have,
// or those named. On the active the next backup takes them as they are; elsewhere they
// are taken for right where they lie now. It returns what was confirmed.
func (c *Changes) Accept(ctx context.Context, names []string, active bool) ([]backup.Change, error) {
	chosen, err := c.named(names)
	if err != nil {
		return nil, fmt.Errorf("confirm changes: %w", err)
	}
	accepted := slices.DeleteFunc(c.List(), func(one backup.Change) bool {
		return !slices.ContainsFunc(chosen, func(s source.Source) bool { return s.Name() == one.Source })
	})
	for _, one := range accepted {
		c.log.Note(ctx, event.Warn, sourceTrouble, fmt.Sprintf("confirmed: source %s: %s", one.Source, one.What), nil)
	}
	if active {
		c.accept(chosen)
		return accepted, nil
	}
	if err := c.volumes.Learn(ctx, chosen...); err != nil {
		return nil, fmt.Errorf("confirm changes: %w", err)
	}
	c.Look(ctx)
	return accepted, nil
}

// named finds the sources with the names; all of them for none.
func (c *Changes) named(names []string) ([]source.Source, error) {
	all := c.inForce()
	if len(names) == 0 {
		return all, nil
	}
	var chosen []source.Source
	for _, name := range names {
		i := slices.IndexFunc(all, func(s source.Source) bool { return s.Name() == name })
		if i < 0 {
			return nil, ha.Invalidf("there is no source %q", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}
