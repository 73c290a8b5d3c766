package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/instance"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/membership"
)

func newJoin(a *app) *cobra.Command {
	var how agent.Joining
	cmd := &cobra.Command{
		Use:   "join",
		Short: "Make this host a standby of the cluster in the bucket",
		Long: `Make this host a standby of the cluster in the bucket, and tell the others its URL
(UNDERSTUDY_URL). Its application must not run, nor start at boot by itself: only
a promotion starts it. The application's files and databases need not be there: a
promotion makes them, and the folders above them. What keeps this host from taking
over all the same is said; status and doctor say it too, until it is put right.

A restore that a crash has interrupted here ends first, in the way that loses nothing:
what was done, and where the earlier state is kept if nobody knows whether it is still
needed, is said.

A name that another host uses is refused. --replace takes it over: for a host that
has lost its data folder, or whose data folder is a copy or an old version. On a
host that is in this cluster already, join does nothing.

What a host was writing as the active is kept as a salvage backup before anything can
replace it, though its data folder be lost. What else lies on a host that is new here
is said; --salvage has it kept too.

Under strict fencing a host is refused on which nothing can stop the application:
configure hooks.demote, or, where understudy exec is going to run the application, say
so with --exec.`,
		Example: `  understudy join --bucket s3://backups/myapp --key-file /etc/understudy/key --url https://host-b:7878`,
		Args:    arguments(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.join(cmd.Context(), how) },
	}
	cmd.Flags().BoolVar(&a.runsApp, "exec", false, "understudy exec is going to run the application on this host")
	cmd.Flags().BoolVar(&how.Replace, "replace", false, "take the name over from whoever has it")
	cmd.Flags().BoolVar(&how.Salvage, "salvage", false, "keep what this host has as a salvage backup first")
	return cmd
}

func (a *app) join(ctx context.Context, how agent.Joining) error {
	cfg, c, err := a.instance().Config(ctx)
	if err != nil {
		return err
	}
	if !how.Replace {
		if done, err := a.already(ctx, cfg); done || err != nil {
			return err
		}
	}
	joined, err := agent.Join(ctx, cfg, how)
	if err != nil {
		return err
	}
	result := memberJSON{Cluster: joined.Cluster, Settled: joined.Settled, Unkept: joined.Unkept, Instance: cfg.Instance, URL: cfg.URL, Role: ha.RoleStandby, Keys: cfg.Ring.IDs(), Blockers: instance.Blockers(ctx, cfg, joined.Newest)}
	if err := a.printer().Show(result, func(w io.Writer) {
		if joined.Settled != nil {
			fmt.Fprintf(w, "First, %v.\n", joined.Settled)
		}
		fmt.Fprintf(w, "%s has joined cluster %s as a standby. Start it with: understudy serve\n", cfg.Instance, joined.Cluster)
		if joined.Unkept != "" {
			fmt.Fprintf(w, "Look: %s.\n", membership.UnkeptText(joined.Unkept))
		}
		for _, why := range result.Blockers {
			fmt.Fprintf(w, "It cannot take over yet: %s\n", why)
		}
	}); err != nil {
		return err
	}
	warnMember(ctx, a.printer(), a.set, c, cfg)
	return nil
}
