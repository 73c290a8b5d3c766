package agent

import (
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/peers"
	"github.com/understudy-ha/understudy/ha/shared"
)

// Notifier wakes the other instances up.
func (a *Agent) Notifier() *peers.Notifier { return a.notifier }

// Sightings are what instances see of the head.
func (a *Agent) Sightings() *peers.Sightings { return a.sightings }

// Accounts are who may sign in to the console.
func (a *Agent) Accounts() *account.Accounts { return a.accounts }

// openShared makes what knows the shared configuration and the other instances.
func (a *Agent) openShared() {
	a.follower = shared.NewFollower(a.configs, a.tell, a.inbox.Post)
	a.records = shared.NewRecords(a.control, a.cfg.Clock, func() *ha.Head { return a.state.View().Head })
	a.shared = shared.New(shared.Host{
		Asking: a.asking, View: a.state.View, Configs: a.configs, Records: a.records, Control: a.control,
		Poll: a.cfg.Poll, Random: a.cfg.Random, Ring: a.cfg.Ring, Log: a.tell, AllowStrict: a.refuseStrict,
	})
	a.accounts = account.New(a.shared)
	h := peers.Host{
		Self: a.self, Version: a.cfg.Version, Control: a.control, Configs: a.configs, Records: a.records, View: a.state.View,
		Ring: a.cfg.Ring, Clock: a.cfg.Clock, Random: a.cfg.Random, HTTP: a.cfg.HTTP, Log: a.tell,
	}
	a.notifier = peers.NewNotifier(h, &a.stats, func(do func()) { a.runner.Go(do) }, a.inbox.Wake)
	a.sightings = peers.NewSightings(h)
}
