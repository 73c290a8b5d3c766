package agent

import (
	"context"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/watch"
)

// lookEvery is how often this host is looked at.
const lookEvery = 30 * time.Second

// look looks whether an application runs on a standby, whether the fencing can be kept,
// and whether there is room for what the agent must write.
func (a *Agent) look(ctx context.Context) time.Duration {
	a.holders.Look(ctx)
	a.lookAtFencing(ctx)
	a.folder.Look(ctx)
	return lookEvery
}

// schedule is what this instance knows of the cluster's schedule: its own
// on the active, elsewhere what the active's record says.
func (a *Agent) schedule(core ha.Status) watch.Schedule {
	if core.Role == ha.RoleActive || core.Head == nil {
		return watch.Schedule{Paused: core.Paused, Failing: core.BackupError}
	}
	if rec := a.records.Reading().Rows[core.Head.Active.Name].Record; rec != nil && rec.Role == ha.RoleActive {
		return watch.Schedule{Paused: rec.Paused, Failing: rec.BackupError}
	}
	return watch.Schedule{}
}
