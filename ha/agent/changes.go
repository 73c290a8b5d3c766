package agent

import (
	"context"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
)

// AcceptChanges is an operator's word that sources have changed as they should:
// all that have, or those named. On the active the next backup, which is asked
// for, takes them as they are; on a standby it may be restored to where they lie
// now. It returns what was confirmed.
func (a *Agent) AcceptChanges(ctx context.Context, names []string) ([]backup.Change, error) {
	active := a.state.View().Role == ha.RoleActive
	accepted, err := a.changes.Accept(ctx, names, active)
	if err != nil || active {
		return accepted, err
	}
	return accepted, a.reloading.startOver(ctx)
}
