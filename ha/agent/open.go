package agent

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/catalogue"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/federation"
	"github.com/understudy-ha/understudy/ha/membership"
	"github.com/understudy-ha/understudy/ha/peers"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/putback"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/requests"
	"github.com/understudy-ha/understudy/ha/runner"
	"github.com/understudy-ha/understudy/ha/shared"
	"github.com/understudy-ha/understudy/ha/sources"
	"github.com/understudy-ha/understudy/ha/staging"
	"github.com/understudy-ha/understudy/ha/upkeep"
	"github.com/understudy-ha/understudy/ha/watch"
	"github.com/understudy-ha/understudy/ha/work"
	"github.com/understudy-ha/understudy/restore"
)

// How an agent is put together: each part is given what it needs, and no part the agent.

// openParts opens what lies in the data folder.
func openParts(ctx context.Context, a *Agent) (err error) {
	openReloading(a)
	if a.cache, err = restore.OpenCache(a.dir.File(datadir.CacheFolder), a.cfg.Keep); err != nil {
		return err
	}
	a.progress = new(work.Progress)
	a.cached = work.NewCached(a.cache, a.repo, a.tell, a.progress, &a.stats)
	if a.volumes, err = sources.OpenVolumes(a.dir); err != nil {
		a.tell.Note(ctx, event.Alarm, "agent", "on which volumes the sources lay is not known any more, and those that are there now are taken for right: look that each is mounted ("+err.Error()+")", nil)
	}
	a.changes, a.doubts = sources.NewChanges(a.tell, a.volumes, a.reloading.sources), sources.NewDoubts(a.tell, a.reloading.sources)
	a.cache.Step = a.cfg.Step
	a.chain = control.NewChain(a.control, a.cache)
	a.auditLog = control.NewAuditLog(a.chain)
	openShared(a)
	a.requests = requests.New(a.asking, a.state, func() { a.packs.RequireFull() }, a.cfg.Clock, a.tell)
	openUpkeep(a)
	openApplication(a)
	openStreams(ctx, a)
	if err = openStaging(ctx, a); err != nil {
		return err
	}
	openWork(a)
	openCatalogue(a)
	openPromotions(a)
	openWatch(a)
	a.webhooks = newWebhooks(a)
	return nil
}

func machineParams(a *Agent) (ha.Params, error) {
	p := ha.Params{
		Cluster: a.control.Cluster(), Self: a.self, Boot: a.cfg.Clock.Boot(), Poll: a.cfg.Poll, Random: a.cfg.Random,
		Fencing: ha.DefaultConfig().Fencing, Rehearsal: a.live().Rehearsal, Unstoppable: a.unstoppable(),
	}
	if _, c := a.configs.Current(); c != nil {
		p.Fencing = c.Fencing
	}
	if refs := a.cached.Refs(); len(refs) > 0 {
		p.Cached = &refs[0]
	}
	var err error
	p.Rehearsed, p.Swapped, err = a.stage.Begun(a.live().Rehearsal)
	return p, err
}

// openRunner makes what runs the machine.
func openRunner(a *Agent, m *ha.Machine) {
	a.bucket = &bucket{a.admission, a.control, a.cfg.Store, a.objects.TellLease}
	a.runner = runner.New(runner.Config{
		Machine: m, Inbox: a.inbox, Clock: a.cfg.Clock, State: a.state, Disk: a.dir, Log: a.tell, Steps: a.cfg.Step, Failed: a.stats.Failed,
		Work: a.work, Leave: a.leave, Beat: a.cfg.Beat,
		Correct: func(core *ha.Status, now ha.Now) {
			a.app.Supervise(core, now)
			a.promotions.Remember(core.Last)
		},
		After: func(ctx context.Context, now ha.Now) {
			a.follower.Follow(ctx, a.state.View().Head, a.runner.Go)
			a.overdue.Look(ctx, a.state.View(), now)
		},
	}, a.started)
}

// openApplication makes the parts that run the application and look at it.
func openApplication(a *Agent) {
	a.app = application.New(application.Config{
		Instance: a.self.Name, Cluster: a.control.Cluster(), Supervisor: a.cfg.Application, Runner: a.cfg.hooks,
		State: a.state, Log: a.tell, InForce: a.reloading.setup,
		Shared: a.configs.Current, Failed: a.stats.HookFailed,
	})
	a.holders = application.NewHolders(application.HoldersConfig{
		State: a.state, Log: a.tell, Sources: a.reloading.sources,
		Live: func() ([]holder.Place, error) { return a.stage.Swapper().Live() }, Find: a.cfg.find,
	})
}

// openStaging makes the parts that keep a backup staged.
func openStaging(ctx context.Context, a *Agent) (err error) {
	if a.rehearsals, err = staging.OpenRehearsals(a.dir); err != nil {
		a.tell.Note(ctx, event.Warn, "rehearsal", "what was rehearsed here is not known any more, and is rehearsed again: "+err.Error(), nil)
	}
	sweep := func(ctx context.Context) ([]source.Leftover, error) { return a.stage.Swapper().Sweep(ctx) }
	a.leftovers = staging.NewLeftovers(sweep, a.tell, a.cfg.Logger)
	a.stage = staging.New(staging.Config{
		Folder: a.dir.File(datadir.SwapFolder), Cache: a.cache, Repo: a.repo, Rehearsals: a.rehearsals, Clock: a.cfg.Clock, Log: a.tell,
		Judge: a.app, Backups: a.cached, Progress: a.progress, Counts: &a.stats, Leftovers: a.leftovers.Soon,
		Volume: a.volumes.Settle, Follow: a.following, Step: a.cfg.Step, Announce: runner.Steps(a.cfg.Step).Do,
	})
	a.reader = staging.NewReader(a.stage, a.state)
	a.kept = staging.NewKept(a.dir, a.tell, a.reloading.sources)
	return a.stage.Open(a.reloading.sources())
}

// openWork makes what makes backups.
func openWork(a *Agent) {
	a.maker = work.NewMaker(work.Config{
		Instance: a.self.Name, Version: a.cfg.Version, Cluster: a.control.Cluster(), Ring: a.cfg.Ring,
		Repo: a.repo, Cache: a.cache, Chain: a.chain, Clock: a.cfg.Clock, StoreTime: a.control.Time, Random: a.cfg.Random,
		Log: a.tell, Logger: a.cfg.Logger, Volumes: a.volumes, Changes: a.changes, Doubts: a.doubts,
		InForce: a.reloading.sources, Progress: a.progress, Counts: &a.stats, Application: a.app, Packs: a.packs, Locks: a.locks,
		Rules:  func(c *ha.Config) retention.Policy { return a.rules.Effect(c).Effective },
		Shared: a.configs.With, Whole: a.stage.Whole,
	})
}

// openCatalogue makes what says which backups there are.
func openCatalogue(a *Agent) {
	a.catalogue = catalogue.New(catalogue.Config{
		Store: a.control, Chain: a.chain, AuditLog: a.auditLog, Streams: a.streams, Repo: a.repo, Cache: a.cache, State: a.state, Cached: a.cached,
		Packs: a.packs, Objects: a.objects, Rehearsals: a.table.rehearsedOn,
		Keep: func(ctx context.Context, digest string) time.Duration {
			c, err := a.configs.With(ctx, digest)
			if err != nil {
				return 0
			}
			return a.rules.Effect(c).Effective.Keep
		},
	})
}

// openWatch makes what looks at what people are to be told.
func openWatch(a *Agent) {
	a.readiness = watch.NewReadiness(watch.ReadinessConfig{
		State: a.state, Chain: a.chain, Clock: a.cfg.Clock, Log: a.tell, InForce: func() any { return a.live() },
		Look: func(ctx context.Context, m *backup.Manifest) (lacks, notes []string) {
			a.changes.Look(ctx)
			return a.promotions.CheckHost(ctx, m)
		},
	})
	a.federation = federation.NewTargets(federation.Host{
		Config: func() federation.Config { return a.live().Federation }, Target: a.table.federated, Change: a.state.Changed, Log: a.tell,
	})
	a.folder = watch.NewFolder(a.dir, a.tell, a.reloading.sources)
	a.overdue = watch.NewOverdue(a.tell, a.schedule, a.configs.Current)
	a.aftermath = watch.NewAftermath(a.state, a.chain, a.cfg.Clock, a.tell, func(t *control.Takeover) bool {
		return slices.ContainsFunc(a.table.all(a.state.View()), func(i report.InstanceStatus) bool { return i.Name == t.Old && i.Epoch >= t.Epoch })
	})
	a.logs = watch.NewLogs(a.state, a.reloading.sources, a.aftermath.Newest, a.cfg.Clock)
	a.packing = work.NewPacking(a.state.View, a.cfg.Clock, a.logs.Unpacked, a.inbox.Post)
}

// openPromotions makes what a promotion of this instance is asked of.
func openPromotions(a *Agent) {
	a.promotions = promotions.New(promotions.Host{
		Instance: a.self.Name, Status: a.Status, State: a.state, Asking: a.asking, Stopped: a.inbox.Stopped(),
		Control: a.control, Chain: a.chain, Catalogue: a.catalogue, Rehearsals: a.rehearsals, Ring: a.cfg.Ring, Clock: a.cfg.Clock,
		InForce: a.reloading.setup, RunsApplication: a.cfg.Application != nil, Version: a.app.Version, Holders: a.holders.Find, CheckVolumes: a.volumes.Check, Progress: a.progress.Shown,
		CheckRestore:      func(ctx context.Context, m *backup.Manifest) error { return a.stage.Swapper().Check(ctx, m) },
		RefuseUnstoppable: func() error { return a.cfg.refuseUnstoppable(a.live().Hooks, a.state.View().Head) },
	})
}

// openReloading makes what knows the configuration file that is in force.
func openReloading(a *Agent) {
	a.reloading = newReloading(reloadHost{
		clock: a.cfg.Clock, tell: a.tell, asking: a.asking, post: a.inbox.Post, allow: a.allowHooks, unstoppable: a.unstoppable,
		use: func(ctx context.Context, all []source.Source) error {
			return a.stage.UseSources(ctx, all, a.leftovers.Clear)
		},
		used: a.useStreams,
	}, Live{Sources: a.cfg.Sources, Hooks: a.cfg.Hooks, AppVersion: a.cfg.AppVersion, Rehearsal: a.cfg.Rehearsal, ApplyEvery: a.cfg.ApplyEvery, Federation: a.cfg.Federation})
}

// newRecorder makes what keeps this instance's record.
func newRecorder(a *Agent) *recorder {
	return &recorder{
		admission: a.admission, state: a.state, clock: a.cfg.Clock, poll: a.cfg.Poll, log: a.tell, record: a.record,
		positions: func(ctx context.Context) map[string]string {
			return sources.Positions(ctx, a.reloading.sources(), a.cfg.Logger)
		},
		registered: func() { a.inbox.Post(ha.Registered{}) }, news: a.notifier.TellActive,
	}
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

// openShared makes what knows the shared configuration and the other instances.
func openShared(a *Agent) {
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
	a.table = &Table{host: tableHost{
		self: a.self, poll: a.cfg.Poll, clock: a.cfg.Clock, state: a.state, records: a.records, configs: a.configs, shared: a.shared,
		sightings: a.sightings, tell: a.tell, admitted: a.admission.Admitted(), own: a.record,
	}}
}

// upkeepHost is what these parts are given.
func upkeepHost(a *Agent) upkeep.Host {
	return upkeep.Host{
		Self: a.self, Store: a.cfg.Store, Control: a.control, Chain: a.chain, Repo: a.repo, Cache: a.cache,
		Clock: a.cfg.Clock, Timeout: a.cfg.RequestTimeout, Logger: a.cfg.Logger, Cluster: clusterView{a.state, a.configs}, Log: a.tell,
	}
}

// openUpkeep makes the parts that look after the bucket and the cache.
func openUpkeep(a *Agent) {
	h := upkeepHost(a)
	a.locks = upkeep.NewLocks(h)
	a.rules = upkeep.NewRules(h, a.cfg.Lifecycle, a.locks)
	a.sweeper = upkeep.NewSweeper(h, a.rules)
	a.newest = upkeep.NewNewest(h, a.rules, a.locks, newStandbys(a))
	a.scrubber = upkeep.NewScrubber(h, a.cached.List)
	a.objects = upkeep.NewObjects(h, a.rules, a.locks, a.auditLog)
	a.packs = upkeep.NewPacks(h, a.rules, a.locks, a.requests, func() ([]string, bool) { return missedByActive(a) })
	a.recovery = putback.New(putback.Host{
		Store: a.cfg.Store, Control: a.control, Repo: a.repo, Cache: a.cache, Cached: a.cached.Refs, Configs: a.configs, Records: a.records,
		View: a.state.View, Survey: a.sightings.Survey, Asking: a.asking, Packs: a.packs, Log: a.tell,
		Lock: func() blobstore.Lock { return a.locks.For(a.rules.PackLife()) },
	})
	a.cache.Mended = func(ctx context.Context, m restore.Mended) {
		a.stats.CacheMended(m.Err != nil)
		a.scrubber.Mended(ctx, m)
	}
}

// maxRecovered is of how many objects it is told that an earlier version was
// read: somebody who overwrites all of them is not to fill the log.
const maxRecovered = 100

// tellRecovered returns what warns, once for each object, that it is damaged or
// missing and an earlier version was read.
func tellRecovered(a *Agent) func(context.Context, string, blobstore.Version) {
	var mu sync.Mutex
	told := make(map[string]bool)
	return func(ctx context.Context, key string, v blobstore.Version) {
		mu.Lock()
		known := told[key] || len(told) >= maxRecovered
		told[key] = true
		mu.Unlock()
		if !known {
			a.tell.Note(ctx, event.Warn, upkeep.RetentionKind, control.RecoveredText(key, v), map[string]any{"object": key, "version": v.ID})
		}
	}
}
