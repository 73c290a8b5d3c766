package agent

import (
	"context"
	"slices"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
)

// unstoppable reports whether nothing on this host can stop the application but
// people.
func (c *Config) unstoppable(h application.Hooks) bool {
	return c.Application == nil && !c.Supervised && len(h.Demote.Command) == 0
}

// unstoppable is the same by what is in force now.
func (a *Agent) unstoppable() bool { return a.cfg.unstoppable(a.live().Hooks) }

// refuseUnstoppable refuses an instance in a cluster whose fencing is strict, where
// nothing on its host can stop the application.
func (c *Config) refuseUnstoppable(h application.Hooks, head *ha.Head) error {
	if head == nil || head.Fencing.Mode != ha.Strict || !c.unstoppable(h) {
		return nil
	}
	return invalid("the fencing of this cluster is strict: %s", ha.RefuseStrict(c.Instance))
}

// refuseStrict refuses strict fencing while an instance says that nothing on its host
// can stop the application. One that says so later is refused then.
func (a *Agent) refuseStrict(ctx context.Context, c *ha.Config) error {
	if err := a.records.Refresh(ctx); err != nil {
		return err
	}
	var all []string
	for name, r := range a.records.Reading().Rows {
		if name != a.self.Name && r.Record != nil && r.Record.Unstoppable && !c.Removed(name) {
			all = append(all, name)
		}
	}
	if a.unstoppable() {
		all = append(all, a.self.Name)
	}
	if len(all) == 0 {
		return nil
	}
	slices.Sort(all)
	return &ha.Refusal{Reason: ha.RefuseStrict(all...)}
}

// lookAtFencing raises a trouble while strict fencing is not kept here: the cluster
// came to be strict while nobody knew of this instance.
func (a *Agent) lookAtFencing(ctx context.Context) {
	const kind, key = "fencing", "unstoppable"
	if err := a.cfg.refuseUnstoppable(a.live().Hooks, a.state.View().Head); err != nil {
		a.tell.Trouble(ctx, kind, key, ha.RefuseStrict(a.self.Name)+"; until then this instance cannot take over")
		return
	}
	a.tell.TroubleOver(ctx, kind, key, "strict fencing holds for this instance again, or is in force no more")
}

// allowHooks refuses hooks that would make strict fencing untrue; a change of the fencing
// waits for it, and it for that.
func (a *Agent) allowHooks(now, next application.Hooks) (release func(), err error) {
	if !a.cfg.unstoppable(next) || a.cfg.unstoppable(now) {
		return func() {}, nil
	}
	release = a.shared.Hold()
	if err := a.cfg.refuseUnstoppable(next, a.state.View().Head); err != nil {
		release()
		return nil, err
	}
	return release, nil
}
