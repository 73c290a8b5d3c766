package agent

import (
	"context"
	"time"

	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha/application"
)

// lookEvery is how often this host is looked at.
const lookEvery = 30 * time.Second

// keepLooking looks every now and then whether an application runs on a standby,
// whether the fencing can be kept, and whether there is room for what the agent must write.
func (a *Agent) keepLooking(ctx context.Context) error {
	return a.whenAdmitted(ctx, func() time.Duration {
		a.holders.Look(ctx)
		a.lookAtFencing(ctx)
		a.lookAtRoom(ctx)
		a.lookAtFolders(ctx)
		return lookEvery
	})
}

// openApplication makes the parts that run the application and look at it.
func (a *Agent) openApplication() {
	a.app = application.New(application.Config{
		Instance: a.self.Name, Cluster: a.control.Cluster(), Supervisor: a.cfg.Application, Runner: a.cfg.hooks,
		State: a.state, Log: a.tell, InForce: func() application.Setup { return a.live().setup() },
		Shared: a.configs.current, Failed: a.stats.hookFailed,
	})
	a.holders = application.NewHolders(application.HoldersConfig{
		State: a.state, Log: a.tell, Sources: func() []source.Source { return a.live().Sources },
		Live: func() ([]holder.Place, error) { return a.swap().Live() }, Find: a.cfg.find,
	})
}
