// Package names lists what a command may be told: for completions in a shell, and for
// what somebody may have meant. What cannot be found out is nothing: nobody is told why.
package names

import (
	"context"

	"github.com/understudy-ha/understudy/cmd/understudy/agentclient"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
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

// Backups are the newest ids, and words for them.
func (n Names) Backups(ctx context.Context) []string {
	var list control.BackupList
	n.get(ctx, "/api/v1/backups?limit=50", &list)
	names := []string{"latest", "latest~1"}
	for _, b := range list.Backups {
		names = append(names, b.ID)
	}
	return names
}

// Instances are those that have joined.
func (n Names) Instances(ctx context.Context) (names []string) {
	var list api.Instances
	n.get(ctx, "/api/v1/instances", &list)
	for _, i := range list.Instances {
		if i.Name != "" {
			names = append(names, i.Name)
		}
	}
	return names
}

// Users are who may sign in.
func (n Names) Users(ctx context.Context) (names []string) {
	var list api.Users
	n.get(ctx, "/api/v1/users", &list)
	for _, u := range list.Users {
		names = append(names, u.Name)
	}
	return names
}

// Webhooks are the ids of webhooks.
func (n Names) Webhooks(ctx context.Context) (names []string) {
	var list api.Webhooks
	n.get(ctx, "/api/v1/webhooks", &list)
	for _, h := range list.Webhooks {
		names = append(names, h.ID)
	}
	return names
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
func Kinds() (names []string) {
	for _, k := range event.Kinds {
		names = append(names, k.Name)
	}
	return names
}

// Levels are the levels of events.
func Levels() []string { return []string{string(event.Info), string(event.Warn), string(event.Alarm)} }
