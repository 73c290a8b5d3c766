package main

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/demo"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/sample"
	"github.com/understudy-ha/understudy/cmd/understudy/setup"
)

const demoHelp = `Tells the whole story on this machine, with real processes: three hosts (an
agent each), a folder as the bucket, and a small application that writes to a
SQLite database and a folder of uploads without a pause. A backup reaches two
standbys; one takes over in a switchover, losing nothing; its agent and
application are killed, and the other one takes over; the dead one comes back,
steps down, and salvages what was lost. Every promise is checked against a
ledger of all commits that the application has acknowledged.

Then the cluster stays up to be looked at, until Ctrl-C. With --once the demo
exits instead: 0 only if every promise held. Nothing is left behind but, with
--keep, the files.`

const demoExample = `  # look, and play with the cluster
  understudy demo

  # check, in a script
  understudy demo --once --json`

func newDemo(a *app) *cobra.Command {
	o := demo.Options{Password: setup.OneTimeCode()}
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "Show the whole story on this machine",
		Long:    demoHelp,
		Example: demoExample,
		Args:    subcommandOnly,
		// The demo's hosts have settings of their own; this host's are not used.
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := a.std.Out
			if a.json {
				out = io.Discard
			}
			err := demo.Run(cmd.Context(), o, out, func(r demo.Report, summary func()) error {
				return a.printer().Show(r, func(io.Writer) { summary() })
			})
			if errors.Is(err, demo.ErrNotEmpty) {
				return exit.With(exit.ErrUsage, err)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&o.Once, "once", false, "exit when the story is told, non-zero unless every promise held")
	cmd.Flags().StringVar(&o.Dir, "dir", "", "empty or new folder to work in (a temporary one)")
	cmd.Flags().BoolVar(&o.Keep, "keep", false, "keep the files: bucket, agents' data and logs, application")
	cmd.AddCommand(newDemoApp(a))
	return cmd
}

// newDemoApp is the sample application as a hidden part of this program, so
// that the demo needs nothing but the one file that a user has downloaded. It
// reads its own flags.
func newDemoApp(a *app) *cobra.Command {
	return &cobra.Command{
		Use:                "app",
		Short:              "The demo's application",
		Example:            "  understudy demo app start --data /tmp/look",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := sample.Run(cmd.Context(), demo.AppCommand, args, a.std.Out, a.std.Err)
			switch {
			case errors.Is(err, sample.ErrUsage):
				return exit.With(exit.ErrUsage, err)
			case errors.Is(err, sample.ErrNotRunning):
				return exit.With(exit.ErrRefused, err)
			}
			return err
		},
	}
}
