package agent

import (
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/shared"
)

// Accounts are who may sign in to the console.
func (a *Agent) Accounts() *account.Accounts { return a.accounts }

// openShared makes what knows the shared configuration and the other instances' records.
func (a *Agent) openShared() {
	a.configs = shared.NewConfigs(a.control, a.dir)
	a.follower = shared.NewFollower(a.configs, a.tell, a.inbox.Post)
	a.records = shared.NewRecords(a.control, a.cfg.Clock, func() *ha.Head { return a.state.View().Head })
	a.shared = shared.New(shared.Host{
		Asking: a.asking, View: a.state.View, Configs: a.configs, Records: a.records, Control: a.control,
		Poll: a.cfg.Poll, Random: a.cfg.Random, Ring: a.cfg.Ring, Log: a.tell, AllowStrict: a.refuseStrict,
	})
	a.accounts = account.New(a.shared)
}
