package main

import (
	"context"
	"errors"
	"io"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// demoOptions is what the demo's flags say.
type demoOptions struct {
	once bool
	keep bool
	dir  string
}

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
	var o demoOptions
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "Show the whole story on this machine",
		Long:    demoHelp,
		Example: demoExample,
		Args:    subcommandOnly,
		// The demo's hosts have settings of their own; this host's are not used.
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		RunE:              func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), a, o) },
	}
	cmd.Flags().BoolVar(&o.once, "once", false, "exit when the story is told, non-zero unless every promise held")
	cmd.Flags().StringVar(&o.dir, "dir", "", "empty or new folder to work in (a temporary one)")
	cmd.Flags().BoolVar(&o.keep, "keep", false, "keep the files: bucket, agents' data and logs, application")
	cmd.AddCommand(newDemoApp(a))
	return cmd
}

// demoReport is what the demo prints with --json.
type demoReport struct {
	OK      bool           `json:"ok"`
	Seconds float64        `json:"seconds"`
	Checks  []demoCheck    `json:"checks"`
	Figures []demoFigure   `json:"figures"`
	Dir     string         `json:"dir"`
	Hosts   []demoHostInfo `json:"hosts"`
}

// demoHostInfo says how to look at a host.
type demoHostInfo struct {
	Name        string `json:"name"`
	URL         string `json:"url"`
	Environment string `json:"environment"` // file for a shell to read
	Log         string `json:"log"`
}

func runDemo(ctx context.Context, a *app, o demoOptions) (err error) {
	// A terminal that is closed must not leave anything behind either.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	stage, err := newDemoStage(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.close(ctx)) }()
	out := a.std.out
	if a.json {
		out = io.Discard
	}
	story := &demoStory{stage: stage, say: newDemoTeller(out), now: time.Now}
	report := story.tell(ctx)
	if ctx.Err() != nil {
		return errors.New("the story was not told to its end")
	}
	if err := a.printer().show(report, func(io.Writer) { story.say.summary(report) }); err != nil {
		return err
	}
	if !report.OK {
		return errors.New("the story did not go as promised; --keep keeps bucket, logs and data for a look")
	}
	if o.once {
		return nil
	}
	password, err := stage.addUser(ctx)
	if err != nil {
		return err
	}
	story.say.lookAround(stage, password)
	<-ctx.Done()
	story.say.leave(o.keep, stage.dir)
	return nil
}
