package agent

import (
	"context"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/catalogue"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/federation"
	"github.com/understudy-ha/understudy/ha/membership"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/runner"
	"github.com/understudy-ha/understudy/ha/sources"
	"github.com/understudy-ha/understudy/ha/staging"
	"github.com/understudy-ha/understudy/ha/watch"
	"github.com/understudy-ha/understudy/ha/work"
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

// openApplication makes the parts that run the application and look at it.
func (a *Agent) openApplication() {
	a.app = application.New(application.Config{
		Instance: a.self.Name, Cluster: a.control.Cluster(), Supervisor: a.cfg.Application, Runner: a.cfg.hooks,
		State: a.state, Log: a.tell, InForce: func() application.Setup { return a.live().setup() },
		Shared: a.configs.Current, Failed: a.stats.HookFailed,
	})
	a.holders = application.NewHolders(application.HoldersConfig{
		State: a.state, Log: a.tell, Sources: func() []source.Source { return a.live().Sources },
		Live: func() ([]holder.Place, error) { return a.stage.Swapper().Live() }, Find: a.cfg.find,
	})
}

// openStaging makes the parts that keep a backup staged.
func (a *Agent) openStaging(ctx context.Context) (err error) {
	if a.rehearsals, err = staging.OpenRehearsals(a.dir); err != nil {
		a.tell.Note(ctx, event.Warn, "rehearsal", "what was rehearsed here is not known any more, and is rehearsed again: "+err.Error(), nil)
	}
	sweep := func(ctx context.Context) ([]source.Leftover, error) { return a.stage.Swapper().Sweep(ctx) }
	a.leftovers = staging.NewLeftovers(sweep, a.tell, a.cfg.Logger)
	a.stage = staging.New(staging.Config{
		Folder: a.dir.File(datadir.SwapFolder), Cache: a.cache, Repo: a.repo, Rehearsals: a.rehearsals, Clock: a.cfg.Clock, Log: a.tell,
		Judge: a.app, Backups: a.cached, Progress: a.progress, Counts: &a.stats, Leftovers: a.leftovers.Soon,
		Volume: a.volumes.Settle, Step: a.cfg.Step, Announce: runner.Steps(a.cfg.Step).Do,
	})
	a.reader = staging.NewReader(a.stage, a.state)
	a.kept = staging.NewKept(a.dir, a.tell, func() []source.Source { return a.live().Sources })
	return a.stage.Open(a.live().Sources)
}

// openWork makes what makes backups.
func (a *Agent) openWork() {
	a.maker = work.NewMaker(work.Config{
		Instance: a.self.Name, Version: a.cfg.Version, Cluster: a.control.Cluster(), Ring: a.cfg.Ring,
		Repo: a.repo, Cache: a.cache, Chain: a.chain, Clock: a.cfg.Clock, StoreTime: a.control.Time, Random: a.cfg.Random,
		Log: a.tell, Logger: a.cfg.Logger, Volumes: a.volumes, Changes: a.changes, Doubts: a.doubts,
		InForce:  func() []source.Source { return a.live().Sources },
		Progress: a.progress, Counts: &a.stats, Application: a.app, Packs: a.packs, Locks: a.locks,
		Rules:  func(c *ha.Config) retention.Policy { return a.rules.Effect(c).Effective },
		Shared: a.configs.With, Whole: a.stage.Whole,
	})
}

// openCatalogue makes what says which backups there are.
func (a *Agent) openCatalogue() {
	a.catalogue = catalogue.New(catalogue.Config{
		Store: a.control, Chain: a.chain, AuditLog: a.auditLog, Repo: a.repo, Cache: a.cache, State: a.state, Cached: a.cached,
		Packs: a.packs, Objects: a.objects, Rehearsals: a.rehearsedOn,
		Keep: func(ctx context.Context, digest string) time.Duration {
			c, err := a.configs.With(ctx, digest)
			if err != nil {
				return 0
			}
			return a.rules.Effect(c).Effective.Keep
		},
	})
}

// Catalogue says which backups there are.
func (a *Agent) Catalogue() *catalogue.Catalogue { return a.catalogue }

// openWatch makes what looks at what people are to be told.
func (a *Agent) openWatch() {
	a.readiness = watch.NewReadiness(watch.ReadinessConfig{
		State: a.state, Chain: a.chain, Clock: a.cfg.Clock, Log: a.tell, InForce: func() any { return a.live() },
		Look: func(ctx context.Context, m *backup.Manifest) (lacks, notes []string) {
			a.changes.Look(ctx)
			return a.promotions.CheckHost(ctx, m)
		},
	})
	a.federation = federation.NewTargets(federation.Host{
		Config: func() federation.Config { return a.live().Federation }, Target: a.federated, Change: a.state.Changed, Log: a.tell,
	})
	a.folder = watch.NewFolder(a.dir, a.tell, func() []source.Source { return a.live().Sources })
	a.overdue = watch.NewOverdue(a.tell, a.schedule, a.configs.Current)
	a.aftermath = watch.NewAftermath(a.state, a.chain, a.cfg.Clock, a.tell, func(t *control.Takeover) bool {
		return slices.ContainsFunc(a.instances(a.state.View()), func(i report.InstanceStatus) bool { return i.Name == t.Old && i.Epoch >= t.Epoch })
	})
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

// newStandIn makes what stops the application while the agent cannot begin.
func newStandIn(ctx context.Context, cfg *Config, dir *datadir.Dir) *application.StandIn {
	return application.NewStandIn(ctx, application.StandInConfig{
		Folder: dir.Path(), Demote: cfg.Hooks.Demote, Runner: cfg.hooks, Unstoppable: cfg.unstoppable(cfg.Hooks),
		Clock: cfg.Clock, Random: cfg.Random, Poll: cfg.Poll, Logger: cfg.Logger,
		Incarnation: func() (string, error) { return membership.RandomHex(cfg.Random, 16) },
		Journal: func() (j ha.Journal, found bool, err error) {
			found, err = dir.Load(datadir.JournalFile, &j)
			return j, found, err
		},
	})
}

// openPromotions makes what a promotion of this instance is asked of.
func (a *Agent) openPromotions() {
	a.promotions = promotions.New(promotions.Host{
		Instance: a.self.Name, Status: a.Status, State: a.state, Asking: a.asking, Stopped: a.inbox.Stopped(),
		Control: a.control, Chain: a.chain, Catalogue: a.catalogue, Rehearsals: a.rehearsals, Ring: a.cfg.Ring, Clock: a.cfg.Clock,
		Local: func() promotions.Local {
			live := a.live()
			return promotions.Local{Sources: live.Sources, Hooks: live.Hooks, Versioned: live.AppVersion != nil}
		},
		RunsApplication: a.cfg.Application != nil, Version: a.app.Version, Holders: a.holders.Find, CheckVolumes: a.volumes.Check, Progress: a.progress.Shown,
		CheckRestore:      func(ctx context.Context, m *backup.Manifest) error { return a.stage.Swapper().Check(ctx, m) },
		RefuseUnstoppable: func() error { return a.cfg.refuseUnstoppable(a.live().Hooks, a.state.View().Head) },
	})
}

// Promotions are those of this instance.
func (a *Agent) Promotions() *promotions.Promotions { return a.promotions }

// openReloading makes what knows the configuration file that is in force.
func (a *Agent) openReloading() {
	a.reloading = newReloading(reloadHost{
		clock: a.cfg.Clock, tell: a.tell, asking: a.asking, post: a.inbox.Post, allow: a.allowHooks, unstoppable: a.unstoppable,
		use: func(ctx context.Context, all []source.Source) error {
			return a.stage.UseSources(ctx, all, a.leftovers.Clear)
		},
	}, Live{Sources: a.cfg.Sources, Hooks: a.cfg.Hooks, AppVersion: a.cfg.AppVersion, Rehearsal: a.cfg.Rehearsal, Federation: a.cfg.Federation})
}

// newRecorder makes what keeps this instance's record.
func (a *Agent) newRecorder() *recorder {
	return &recorder{
		admission: a.admission, state: a.state, clock: a.cfg.Clock, poll: a.cfg.Poll, log: a.tell, record: a.record,
		positions: func(ctx context.Context) map[string]string {
			return sources.Positions(ctx, a.live().Sources, a.cfg.Logger)
		},
		registered: func() { a.inbox.Post(ha.Registered{}) }, news: a.notifier.TellActive,
	}
}
