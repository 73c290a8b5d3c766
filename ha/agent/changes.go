package agent

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

// changes are the sources that are not what they were, as far as this process
// has found out, and those of them that an operator has confirmed for the next
// backup. It is safe for concurrent use.
type changes struct {
	mu       sync.Mutex
	found    map[string]string // what, by the source's name
	accepted map[string]bool
}

// sourceTrouble is the kind of trouble that a changed source is.
const sourceTrouble = "source"

// list returns what was found, by the sources' names.
func (c *changes) list() []backup.Change {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []backup.Change
	for _, name := range slices.Sorted(maps.Keys(c.found)) {
		all = append(all, backup.Change{Source: name, What: c.found[name]})
	}
	return all
}

// set notes what was found of a source; "" for nothing.
func (c *changes) set(name, what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if what == "" {
		delete(c.found, name)
		return
	}
	if c.found == nil {
		c.found = map[string]string{}
	}
	c.found[name] = what
}

func (c *changes) accept(sources []source.Source) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.accepted == nil {
		c.accepted = map[string]bool{}
	}
	for _, s := range sources {
		c.accepted[s.Name()] = true
	}
}

func (c *changes) isAccepted(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.accepted[name]
}

// spend forgets what was confirmed, once a backup was made of it.
func (c *changes) spend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accepted = nil
}

// tellChanges makes red, or well again, what a backup has found of its sources.
func (a *Agent) tellChanges(ctx context.Context, sources []source.Source, err error) {
	var refused *backup.ChangedError
	if err != nil && !errors.As(err, &refused) {
		return // it says nothing of what the others look like
	}
	for _, src := range sources {
		what := ""
		if refused != nil {
			i := slices.IndexFunc(refused.Changes, func(c backup.Change) bool { return c.Source == src.Name() })
			if i >= 0 {
				what = refused.Changes[i].What
			}
		}
		a.tellChange(ctx, src.Name(), what, "no backup of it is published: put it right, or confirm it: understudy backup --accept-change "+src.Name())
	}
}

// tellChange makes one source red, or well again.
func (a *Agent) tellChange(ctx context.Context, name, what, advice string) {
	a.changes.set(name, what)
	key := "change of " + name
	if what == "" {
		a.tell.TroubleOver(ctx, sourceTrouble, key, "source "+name+" is as it should be again")
		return
	}
	a.tell.Trouble(ctx, sourceTrouble, key, fmt.Sprintf("source %s: %s; %s", name, what, advice))
}

// lookAtVolumes tells, on a standby, whether the sources' targets are where they
// were.
func (a *Agent) lookAtVolumes(ctx context.Context) {
	for _, src := range a.live().Sources {
		found, err := a.volumes.moved(ctx, src, noMountsWithin)
		if err != nil {
			continue // the blockers of a promotion say it
		}
		a.tellChange(ctx, src.Name(), strings.Join(found, "; "), "nothing is restored there: mount what is missing, or confirm it on this host: understudy accept-change "+src.Name())
	}
}

// AcceptChanges is an operator's word that sources have changed as they should:
// all that have, or those named. On the active the next backup, which is asked
// for, takes them as they are; on a standby it may be restored to where they lie
// now. It returns what was confirmed.
func (a *Agent) AcceptChanges(ctx context.Context, names []string) ([]backup.Change, error) {
	sources, err := a.sourcesNamed(names)
	if err != nil {
		return nil, fmt.Errorf("confirm changes: %w", err)
	}
	found := a.changes.list()
	accepted := slices.DeleteFunc(found, func(c backup.Change) bool {
		return !slices.ContainsFunc(sources, func(s source.Source) bool { return s.Name() == c.Source })
	})
	for _, c := range accepted {
		a.tell.Note(ctx, event.Warn, sourceTrouble, fmt.Sprintf("confirmed: source %s: %s", c.Source, c.What), nil)
	}
	if a.state.View().Role == ha.RoleActive {
		a.changes.accept(sources)
		return accepted, nil
	}
	if err := a.volumes.learn(ctx, sources...); err != nil {
		return nil, fmt.Errorf("confirm changes: %w", err)
	}
	a.lookAtVolumes(ctx)
	return accepted, a.startOver(ctx)
}

// startOver has the sources staged and rehearsed afresh, once nothing else is
// under way.
func (a *Agent) startOver(ctx context.Context) error {
	r := &a.reloading
	r.mu.Lock()
	if r.status == nil || r.status.State != ReloadWaiting {
		r.wanted = a.live().Sources
	}
	r.mu.Unlock()
	id, _, err := a.ask(ctx, func(id string) ha.Event { return ha.ChangeSources{Request: id} })
	if err == nil {
		a.forget(id)
	}
	return err
}

// sourcesNamed finds the sources with the names; all of them for none.
func (a *Agent) sourcesNamed(names []string) ([]source.Source, error) {
	all := a.live().Sources
	if len(names) == 0 {
		return all, nil
	}
	var chosen []source.Source
	for _, name := range names {
		i := slices.IndexFunc(all, func(s source.Source) bool { return s.Name() == name })
		if i < 0 {
			return nil, invalid("there is no source %q", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}
