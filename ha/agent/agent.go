package agent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/catalogue"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/federation"
	"github.com/understudy-ha/understudy/ha/following"
	"github.com/understudy-ha/understudy/ha/membership"
	"github.com/understudy-ha/understudy/ha/peers"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/putback"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/requests"
	"github.com/understudy-ha/understudy/ha/runner"
	"github.com/understudy-ha/understudy/ha/shared"
	"github.com/understudy-ha/understudy/ha/shipping"
	"github.com/understudy-ha/understudy/ha/sources"
	"github.com/understudy-ha/understudy/ha/staging"
	"github.com/understudy-ha/understudy/ha/upkeep"
	"github.com/understudy-ha/understudy/ha/watch"
	"github.com/understudy-ha/understudy/ha/webhook"
	"github.com/understudy-ha/understudy/ha/work"
	"github.com/understudy-ha/understudy/restore"
)

// Agent is one running instance. Run it once; everything else is safe for
// concurrent use.
type Agent struct {
	cfg        Config
	dir        *datadir.Dir
	standIn    *application.StandIn // until the loop begins
	self       ha.Peer
	control    *control.Store
	repo       *backup.Repository
	cache      *restore.Cache
	events     *event.Log
	tell       *event.Teller
	state      *runner.State
	asking     *requests.Asking
	requests   *requests.Requests
	app        *application.Application
	holders    *application.Holders
	configs    *shared.Configs
	follower   *shared.Follower
	shared     *shared.Shared
	records    *shared.Records
	notifier   *peers.Notifier
	sightings  *peers.Sightings
	recovery   *putback.Recovery
	promotions *promotions.Promotions
	accounts   *account.Accounts
	webhooks   *webhook.Webhooks
	chain      *control.Chain
	auditLog   *control.AuditLog
	rehearsals *staging.Rehearsals
	stage      *staging.Stage
	reader     *staging.Reader
	streams    *streams
	shipping   *shipping.Shipping
	following  *following.Following
	ages       ages
	leftovers  *staging.Leftovers
	cached     *work.Cached
	maker      *work.Maker
	progress   *work.Progress
	stats      report.Counts
	started    ha.Now

	admission  *membership.Admission
	witness    *requests.Witness
	reloading  *Reloading
	readiness  *watch.Readiness
	aftermath  *watch.Aftermath
	logs       *watch.Logs
	packing    *work.Packing
	overdue    *watch.Overdue
	folder     *watch.Folder
	kept       *staging.Kept
	rules      *upkeep.Rules
	locks      *upkeep.Locks
	sweeper    *upkeep.Sweeper
	newest     *upkeep.Newest
	scrubber   *upkeep.Scrubber
	federation *federation.Targets
	table      *Table
	packs      *upkeep.Packs
	objects    *upkeep.Objects
	volumes    *sources.Volumes
	changes    *sources.Changes
	doubts     *sources.Doubts
	catalogue  *catalogue.Catalogue

	inbox  *runner.Inbox
	runner *runner.Runner
	bucket *bucket
	ran    atomic.Bool
}

// ErrNotMember means that the data folder belongs to no cluster yet.
var ErrNotMember = errors.New("this instance is not part of a cluster yet")

// Open opens the instance that the data folder holds, ready to Run. It asks the
// bucket for nothing: fencing, and whoever asks the agent for its status, cannot
// wait for a bucket that does not answer. It refuses a folder that another agent
// is using (datadir.ErrLocked), that belongs to no cluster (ErrNotMember) or to another
// instance.
func Open(ctx context.Context, cfg Config) (*Agent, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	dir, err := datadir.Lock(ctx, cfg.DataDir)
	if err != nil {
		return nil, err
	}
	stand := newStandIn(ctx, &cfg, dir)
	if err = dir.Tidy(); err == nil {
		var a *Agent
		if a, err = open(ctx, cfg, dir); err == nil {
			a.standIn = stand
			return a, nil
		}
	}
	stand.End()
	return nil, errors.Join(err, dir.Close())
}

func open(ctx context.Context, cfg Config, dir *datadir.Dir) (*Agent, error) {
	j, err := memberJournal(ctx, cfg, dir)
	if err != nil {
		return nil, err
	}
	incarnation, err := membership.RandomHex(cfg.Random, 16)
	if err != nil {
		return nil, err
	}
	a := &Agent{
		cfg: cfg, dir: dir, started: cfg.Clock.Now(),
		self:    ha.Peer{Name: cfg.Instance, URL: cfg.URL, Incarnation: incarnation},
		control: control.New(cfg.control(), j.Cluster),
		inbox:   runner.NewInbox(),
		state:   runner.NewState(),
	}
	if a.events, err = event.Open(dir.File(datadir.EventsFile), event.Options{Logger: cfg.Logger}); err != nil {
		return nil, err
	}
	a.tell = event.NewTeller(a.events, cfg.Instance, func() time.Time { return cfg.Clock.Now().Wall }, a.state.Announce)
	a.witness = requests.NewWitness(cfg.Clock, a.tell)
	a.configs = shared.NewConfigs(a.control, dir)
	a.asking = requests.NewAsking(a.inbox, a.state, cfg.Random)
	a.control.TellRecovered(tellRecovered(a))
	a.repo = a.control.Repository()
	a.admission = membership.NewAdmission(membership.Host{
		Self: a.self, Begun: j, Folder: dir.Path(), Config: cfg.control(), Control: a.control, Clock: cfg.Clock, Random: cfg.Random, Log: a.tell, Instance: member{clusterView{a.state, a.configs}, a.record},
		Opened: func(c *ha.Cluster) { a.objects.Remember(c) },
		Allow:  func(h *ha.Head) error { return a.cfg.refuseUnstoppable(a.live().Hooks, h) },
	})
	if err := openParts(ctx, a); err != nil {
		return nil, errors.Join(err, a.closeEvents())
	}
	// The new incarnation is journalled before the bucket learns of it. All
	// that the bucket may still show are kept until it is known which one does.
	j.Incarnations = append(slices.Clone(j.Incarnations), incarnation)
	if err := runner.Steps(cfg.Step).Do("journal.start", func() error { return dir.SaveJournal(j) }); err != nil {
		return nil, errors.Join(err, a.closeEvents())
	}
	a.cached.List(ctx)
	params, err := machineParams(a)
	if err != nil {
		return nil, errors.Join(err, a.closeEvents())
	}
	openRunner(a, ha.New(params, j))
	return a, nil
}

// memberJournal reads the journal of a data folder that belongs to a cluster.
func memberJournal(ctx context.Context, cfg Config, dir *datadir.Dir) (ha.Journal, error) {
	j, found, err := dir.LoadJournal()
	switch {
	case err != nil:
		return j, err
	case !found:
		if _, _, err := control.Open(ctx, cfg.control()); err != nil {
			return j, err
		}
		return j, fmt.Errorf("%w: join it with: understudy join", ErrNotMember)
	case j.Instance != cfg.Instance:
		return j, invalid("the data folder %s belongs to the instance %s, not to %s: set UNDERSTUDY_INSTANCE=%s, or use another data folder", dir.Path(), j.Instance, cfg.Instance, j.Instance)
	case j.Pending != nil && j.Pending.Token == "":
		return j, fmt.Errorf("%w: making the cluster was interrupted: run understudy init again", ErrNotMember)
	}
	return j, nil
}

// Close releases the data folder. Call it after Run has returned.
func (a *Agent) Close() error {
	a.standIn.End()
	return errors.Join(a.closeEvents(), a.dir.Close())
}

func (a *Agent) closeEvents() error {
	if a.events == nil {
		return nil
	}
	return a.events.Close()
}

// Events is this instance's log of events.
func (a *Agent) Events() *event.Log { return a.events }

// Run carries the protocol out until ctx is done, which is no error, or until
// going on would be unsafe: the bucket holds
// another cluster, or ignores preconditions (ErrBucket); the key is wrong (a kind
// of package seal); somebody else has this instance's name (*ha.Refusal). A bucket
// that does not answer is no error: it is tried again. The application is left as
// it is, except a Config.Application, which ends with it.
func (a *Agent) Run(ctx context.Context) error {
	if a.ran.Swap(true) {
		return errors.New("run agent: it has run before")
	}
	_, events, unsubscribe := a.events.Subscribe(math.MaxUint64)
	defer unsubscribe()
	a.tell.Note(ctx, event.Info, "agent", "the agent has started", map[string]any{"version": a.cfg.Version})
	g, gctx := errgroup.WithContext(ctx)
	admitted := a.admission.Admitted()
	g.Go(func() error { return a.loop(gctx) })
	g.Go(func() error { return a.webhooks.Run(gctx, events) })
	g.Go(func() error { return newRecorder(a).run(gctx) })
	g.Go(func() error { return a.table.keep(gctx) })
	g.Go(func() error { return keepUp(gctx, admitted, a.rules.Turn) })
	g.Go(func() error { return keepUp(gctx, admitted, a.sweeper.Turn) })
	g.Go(func() error { return keepUp(gctx, admitted, a.newest.Turn) })
	g.Go(func() error { return keepUp(gctx, admitted, a.readiness.Turn) })
	g.Go(func() error { return keepUp(gctx, admitted, a.scrubber.Turn) })
	g.Go(func() error { return keepUp(gctx, admitted, a.reader.Turn) })
	g.Go(func() error { return a.keepPacks(gctx) })
	g.Go(func() error { return keepUp(gctx, admitted, a.objects.Turn) })
	g.Go(func() error { return keepUp(gctx, admitted, a.recovery.Turn) })
	g.Go(func() error { return keepUp(gctx, admitted, a.aftermath.Turn) })
	g.Go(func() error { return keepUp(gctx, admitted, a.logs.Turn) })
	g.Go(func() error { return keepUp(gctx, admitted, a.packing.Turn) })
	g.Go(func() error { return a.shipping.Run(gctx) })
	g.Go(func() error { return keepUp(gctx, admitted, a.follow) })
	g.Go(func() error { return a.federation.Run(gctx) })
	g.Go(func() error { return a.leftovers.Run(gctx) })
	g.Go(func() error { return a.kept.Run(gctx) })
	g.Go(func() error { return keepUp(gctx, admitted, a.look) })
	err := g.Wait()
	a.runner.End()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	if err = errors.Join(err, a.app.End(ctx)); err != nil {
		a.tell.Note(ctx, event.Alarm, "agent", "the agent stops: "+err.Error(), nil)
		return err
	}
	return nil
}

// loop feeds the machine.
func (a *Agent) loop(ctx context.Context) error {
	a.standIn.End()
	a.runner.Go(a.useStreams)
	return a.runner.Run(ctx, a.follower.Begin())
}

// Changed gives a channel that is closed the next time that anything in Status
// may have changed, a few times a second at most while nothing happens.
func (a *Agent) Changed() <-chan struct{} { return a.state.Changed() }

// Turn grows whenever this instance's role has changed: sessions of the
// console last for one turn.
func (a *Agent) Turn() uint64 { return a.state.Turn() }

// Witness tells who was refused what, and who was let in.
func (a *Agent) Witness() *requests.Witness { return a.witness }

// Requests are what can be asked of an active.
func (a *Agent) Requests() *requests.Requests { return a.requests }

// Shared is the shared configuration.
func (a *Agent) Shared() *shared.Shared { return a.shared }

// Notifier wakes the other instances up.
func (a *Agent) Notifier() *peers.Notifier { return a.notifier }

// Sightings are what instances see of the head.
func (a *Agent) Sightings() *peers.Sightings { return a.sightings }

// Accounts are who may sign in to the console.
func (a *Agent) Accounts() *account.Accounts { return a.accounts }

// Catalogue says which backups there are.
func (a *Agent) Catalogue() *catalogue.Catalogue { return a.catalogue }

// Promotions are those of this instance.
func (a *Agent) Promotions() *promotions.Promotions { return a.promotions }

// Table is the table of instances.
func (a *Agent) Table() *Table { return a.table }
