package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/cmd/understudy/setup"
	"github.com/understudy-ha/understudy/cmd/understudy/systemd"
	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/console"
)

func newServe(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the agent of this host",
		Long: `Run the agent of this host until it gets SIGINT or SIGTERM. It leaves the
application as it is when it stops.

On the active it makes the backups and keeps the application running; on a
standby it fetches and verifies every backup. It does not go by what it was told
last: what is in the bucket decides its role, and an active that was replaced
while it was down steps down before it starts its application.

On SIGHUP it reads its YAML file again. One that cannot be used is refused, and the
old one stays in force: understudy status says so.

The console is at the address of --listen, for the users that understudy users adds.
A host that belongs to no cluster yet waits to be set up: at that address, with the
one-time code that is logged, or by understudy init or understudy join.`,
		Example: `  understudy serve --bucket s3://backups/myapp --key-file /etc/understudy/key`,
		Args:    arguments(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), nil) },
	}
}

// serve runs the agent until ctx is done. It runs the application too where
// runs, given this instance's configuration, makes one.
func (a *app) serve(ctx context.Context, runs func(agent.Config) (application.Supervisor, error)) (err error) {
	defer a.logBeside()()
	debug.SetTraceback("crash") // systemd starts again what has died of a signal, and not what ends with wrong usage
	manager := systemd.NewManager(ctx, a.logger())
	token, err := a.set.Token()
	if err != nil {
		return err
	}
	if setup.IsNew(a.set) {
		if err := a.setUp(ctx, manager); err != nil || ctx.Err() != nil {
			return err
		}
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP)
	defer signal.Stop(hangups)
	cfg, file, err := a.instance().Config(ctx)
	if err != nil {
		return err
	}
	if runs != nil {
		if cfg.Application, err = runs(cfg); err != nil {
			return err
		}
	}
	for _, problem := range a.set.Exposed() {
		cfg.Logger.WarnContext(ctx, problem)
	}
	cfg.Beat = manager.Beat
	ag, err := agent.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ag.Close()) }()
	server, err := api.Listen(ctx, api.ServerConfig{
		Parts: partsOf(ag), Listen: a.set.Listen, TLSCert: a.set.TLSCert, TLSKey: a.set.TLSKey,
		SocketPath: a.set.Socket(), Token: string(token), URL: a.set.URL, Proxies: a.set.Proxies, Pages: console.Handler(), Version: version(), Logger: cfg.Logger,
		Place: a.place(),
	})
	if err != nil {
		return err
	}
	cfg.Logger.InfoContext(ctx, "agent started",
		slog.String("instance", cfg.Instance), slog.String("cluster", ag.Status().Cluster), slog.String("version", version()),
		slog.Any("address", server.Addr()), slog.String("socket", a.set.Socket()))
	reload := &reloader{set: a.set, runsApp: runs != nil, agent: ag, now: file, env: cfg.Hooks.Env}
	err = serveUntil(ctx, ag, server, settle,
		func(ctx context.Context) error { return reload.run(ctx, hangups) },
		func(ctx context.Context) error { return manager.Run(ctx, ag.Status) })
	cfg.Logger.InfoContext(ctx, "agent stopped", slog.Bool("orderly", err == nil))
	return err
}

// setUp waits until this host belongs to a cluster, or ctx is done.
func (a *app) setUp(ctx context.Context, manager *systemd.Manager) error {
	if err := setup.Serve(ctx, a.instance(), manager); err != nil {
		return err
	}
	return a.readSettings()
}

// place is what the console is told of this host.
func (a *app) place() api.Place {
	return api.Place{Bucket: a.set.Bucket, KeyFile: a.set.KeyFile, Config: a.set.Config}
}

// partsOf are what the API serves of an agent.
func partsOf(ag *agent.Agent) api.Parts {
	return api.Parts{
		Instance: ag, Table: ag.Table(), Backups: ag.Catalogue(), History: ag.Catalogue(), Requests: ag.Requests(), Changes: ag, Promotions: ag.Promotions(),
		Shared: ag.Shared(), Recovery: ag.Recovery(), Notifier: ag.Notifier(), Sightings: ag.Sightings(), Witness: ag.Witness(), Accounts: ag.Accounts(), Hooks: ag.Webhooks(),
	}
}

// serveUntil runs agent, server and what goes on beside them until ctx is done,
// or any of them fails, which ends the others.
func serveUntil(ctx context.Context, ag *agent.Agent, server *api.Server, beside ...func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Serve(ctx) })
	g.Go(func() error { return ag.Run(ctx) })
	for _, do := range beside {
		g.Go(func() error { return do(ctx) })
	}
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil // the context's end is no failure; a failure that ended it came first
	}
	return err
}
