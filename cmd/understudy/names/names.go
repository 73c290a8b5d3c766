// Package names lists what a command may be told: for completions in a shell, and for
// what somebody may have meant. What cannot be found out is nothing: nobody is told why.
package names

import (
	"context"
	"slices"

	"github.com/understudy-ha/understudy/cmd/understudy/agentclient"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/report"
)

// Names knows them by an agent and by the settings of this host.
type Names struct {
	Set *settings.Host
	// Agent connects to the agent that the command is for.
	Agent func() (*agentclient.Client, error)
}

// get asks the agent; out stays as it is when that does not answer.
func (n Names) get(ctx context.Context, path string, out any) {
	if c, err := n.Agent(); err == nil {
		_ = c.Get(ctx, path, out) // see the package's comment
	}
}

// each are the names in a list.
func each[E any](list []E, name func(E) string) (names []string) {
	for _, e := range list {
		names = append(names, name(e))
	}
	return names
}

// Backups are the newest ids, and words for them.
func (n Names) Backups(ctx context.Context) []string {
	var list control.BackupList
	n.get(ctx, "/api/v1/backups?limit=50", &list)
	return append([]string{"latest", "latest~1"}, each(list.Backups, func(b control.BackupInfo) string { return b.ID })...)
}

// Instances are those that have joined.
func (n Names) Instances(ctx context.Context) []string {
	var list api.Instances
	n.get(ctx, "/api/v1/instances", &list)
	names := each(list.Instances, func(i report.InstanceStatus) string { return i.Name })
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

// Users are who may sign in.
func (n Names) Users(ctx context.Context) []string {
	var list api.Users
	n.get(ctx, "/api/v1/users", &list)
	return each(list.Users, func(u api.User) string { return u.Name })
}

// Webhooks are the ids of webhooks.
func (n Names) Webhooks(ctx context.Context) []string {
	var list api.Webhooks
	n.get(ctx, "/api/v1/webhooks", &list)
	return each(list.Webhooks, func(h api.Webhook) string { return h.ID })
}

// Sources are those of this host's YAML file or, where that has none, of the newest
// backup.
func (n Names) Sources(ctx context.Context) []string {
	names := n.Set.SourceNames()
	if len(names) > 0 {
		return names
	}
	var list control.BackupList
	n.get(ctx, "/api/v1/backups?limit=1", &list)
	for _, b := range list.Backups {
		for _, s := range b.Sources {
			names = append(names, s.Name)
		}
	}
	return names
}

// Keys are the ids of the keys of this host.
func (n Names) Keys(context.Context) []string {
	ring, err := n.Set.Ring()
	if err != nil {
		return nil
	}
	return ring.IDs()
}

// Kinds are the kinds of events.
func Kinds() []string { return each(event.Kinds, func(k event.Kind) string { return k.Name }) }

// Levels are the levels of events.
func Levels() []string { return []string{string(event.Info), string(event.Warn), string(event.Alarm)} }
