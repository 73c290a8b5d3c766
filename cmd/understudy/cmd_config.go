package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/suggest"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/shared"
)

func newConfig(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show or change the configuration that all instances share",
		Long: `Show the configuration that all instances share. It lies in the bucket; what only
this host knows comes from the environment and from the YAML file, of which understudy
config init writes a first one.`,
		Example: `  understudy config`,
		Args:    subcommandOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agent()
			if err != nil {
				return err
			}
			var s report.SharedConfig
			if err := c.Get(cmd.Context(), "/api/v1/config", &s); err != nil {
				return err
			}
			return a.printer().Show(s, func(w io.Writer) { showShared(w, s) })
		},
	}
	a.addAgentFlag(cmd)
	cmd.AddCommand(newConfigSet(a), newConfigInit(a))
	return cmd
}

func newConfigSet(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set KEY VALUE",
		Short: "Change a setting that all instances share",
		Long: `Change a setting that all instances share, on the active. It is in force when the
command returns.

  frequency      time between scheduled backups, at least 1m
  retention      how long a backup stays restorable
  reuse_window   how long a stored pack is referred to before it is written again
  fencing        available or strict
  ttl            how long a silent active counts as alive
  stop_timeout   how long the application may take to stop
  margin         what a successor waits beyond ttl, and an active stops ahead of it

Durations are like 90s, 5m, 12h or 14d.`,
		Example: `  understudy config set frequency 1m
  understudy config set fencing strict`,
		Args: arguments(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.setShared(cmd.Context(), args[0], args[1]) },
	}
	a.addAgentFlag(cmd)
	a.completer().config(cmd)
	return cmd
}

func (a *app) setShared(ctx context.Context, key, value string) error {
	if !slices.Contains(shared.ConfigKeys, key) {
		return exit.Usagef("there is no setting %q%s", key, suggest.Instead(key, "settings", shared.ConfigKeys))
	}
	c, err := a.agent()
	if err != nil {
		return err
	}
	var s report.SharedConfig
	if err := c.Do(ctx, http.MethodPut, "/api/v1/config", map[string]string{key: value}, &s); err != nil {
		return err
	}
	return a.printer().Show(s, func(w io.Writer) { fmt.Fprintf(w, "%s is %s.\n", key, value) })
}

func showShared(w io.Writer, s report.SharedConfig) {
	exact := func(d ha.Duration) string { return terminal.Exact(time.Duration(d)) }
	terminal.Table(w, []any{"KEY", "VALUE"}, [][]any{
		{"frequency", exact(s.Frequency)}, {"retention", exact(s.Retention)}, {"reuse_window", exact(s.ReuseWindow)}, {"fencing", s.Fencing},
		{"ttl", exact(s.TTL)}, {"stop_timeout", exact(s.StopTimeout)}, {"margin", exact(s.Margin)},
	})
}
