package main

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backup/outlet"
	"github.com/understudy-ha/understudy/cmd/understudy/agentclient"
	"github.com/understudy-ha/understudy/cmd/understudy/backups"
	"github.com/understudy-ha/understudy/cmd/understudy/buckets"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/instance"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/cmd/understudy/suggest"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
)

// app is what the commands share.
type app struct {
	std          terminal.Streams
	surroundings surroundings
	json         bool
	set          *settings.Host // after the flags are parsed
	// readSettings reads set, again where something has changed it.
	readSettings func() error
	// log is where the log goes; nil: to standard error.
	log io.Writer
	// agentURL is the agent to talk to; "" for this host's.
	agentURL string
	older    buckets.OlderHead
	// runsApp says that the agent of this host runs the application (understudy exec).
	runsApp bool
}

func (a *app) printer() terminal.Printer { return terminal.Printer{Std: a.std, JSON: a.json} }

// progress shows how far long work has come, to people.
func (a *app) progress() *terminal.Progress {
	if a.json {
		return terminal.NewProgress(io.Discard, false, time.Now)
	}
	return terminal.NewProgress(a.std.Err, a.std.Redraws(a.std.Err), time.Now)
}

// agent connects to the agent that the command is for. Nothing is sent yet.
func (a *app) agent() (*agentclient.Client, error) { return agentclient.Open(a.set, a.agentURL) }

// addAgentFlag gives a command the choice of another host's agent.
func (a *app) addAgentFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.agentURL, "agent", "", "URL of another host's agent, which wants the admin token; without it this host's, through the socket in the data folder")
}

// buckets reads the cluster in the bucket, without an agent.
func (a *app) buckets() buckets.Reader {
	return buckets.Reader{Set: a.set, Log: a.logger(), Tell: a.printer(), Older: &a.older}
}

// backups finds backups, by the agent or without one.
func (a *app) backups() *backups.Finder {
	return &backups.Finder{Set: a.set, Buckets: a.buckets(), Agent: a.agent, Tell: a.printer()}
}

// instance makes this host's configuration of an agent.
func (a *app) instance() instance.Maker {
	return instance.Maker{Set: a.set, Log: a.logger(), Version: version(), KeepOutput: keepOutput, Step: step, RunsApp: a.runsApp}
}

// logger writes to standard error as the settings ask.
func (a *app) logger() *slog.Logger {
	opt := &slog.HandlerOptions{Level: a.set.LogLevel}
	var out io.Writer = a.std.Err
	if a.log != nil {
		out = a.log
	}
	if a.set.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(out, opt))
	}
	return slog.New(slog.NewTextHandler(out, opt))
}

// logPatience is how long an agent waits for whoever takes its log.
const logPatience = 100 * time.Millisecond

// logBeside has the log written beside the agent: standard error may be a file on a
// disk that does not answer, or a pipe that nobody reads. The caller calls end once
// it logs no more.
func (a *app) logBeside() (end func()) {
	b := outlet.NewBeside(logPatience, func() io.Writer { return a.std.Err })
	a.log = b
	return b.End
}

const rootHelp = `Understudy keeps a warm copy of a single-node application ready to take over,
with nothing between the hosts but an object-storage bucket.

Bucket, key and identity come from flags, from the environment (UNDERSTUDY_…) or
from /etc/understudy/environment, as the service has them: understudy help settings
lists them. What to back up comes from a YAML file: understudy config init writes a
first one.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused because unsafe or not in
that role, 4 bucket or key problem, 5 (doctor) a problem of this host, 130 interrupted.`

const rootExample = `  # a key, once for the cluster; keep a copy where the hosts' fate does not reach
  (umask 077; understudy key generate > /etc/understudy/key)

  # on the host where the application runs, and then on each standby
  understudy init && understudy serve
  understudy join && understudy serve

  # change hosts, losing nothing: on the standby that takes over
  understudy promote

  # look into a backup without a running agent
  understudy restore latest --to /tmp/look --bucket s3://backups/myapp --key-file /etc/understudy/key`

func newRoot(a *app) *cobra.Command {
	asksVersion := false
	root := &cobra.Command{
		Use:           "understudy",
		Short:         "A warm copy of your application, ready to take over",
		Long:          rootHelp,
		Example:       rootExample,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          subcommandOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asksVersion {
				_, err := fmt.Fprintln(a.std.Out, "understudy", version())
				return err
			}
			return cmd.Help()
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if isShells(cmd) || asksVersion {
				return nil
			}
			file, err := a.surroundings.find(cmd.Flags())
			if err != nil {
				return err
			}
			a.readSettings = func() (err error) {
				a.set, err = settings.Read(cmd.Flags(), a.surroundings.lookup, file)
				return err
			}
			return a.readSettings()
		},
	}
	root.Flags().BoolVarP(&asksVersion, "version", "v", false, "version for understudy")
	settings.Register(root.PersistentFlags())
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON with stable field names")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return exit.Usagef("%w; see: %s --help", unknownFlag(cmd, err), cmd.CommandPath())
	})
	root.SetUsageFunc(usage)
	root.AddCommand(
		newServe(a), newExec(a), newWatchdog(), newKeepOutput(), newInit(a), newJoin(a), newLeave(a), newKey(a), newDoctor(a), newLifecycle(a),
		newStatus(a), newBackup(a), newAcceptChange(a), newAcceptHost(a), newBackups(a), newVerify(a), newRestore(a), newPromote(a), newRecoverBucket(a),
		newInstances(a), newConfig(a), newUsers(a), newPause(a), newResume(a), newStart(a), newEvents(a), newWebhooks(a), newDemo(a),
		newVersion(a), newSettings(),
	)
	a.completer().settings(root)
	return root
}

// subcommandOnly is the Args of a command that only groups others.
func subcommandOnly(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var commands []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			commands = append(commands, c.Name())
		}
	}
	hint := suggest.Instead(args[0], "commands", commands)
	if near := suggest.Nearest(args[0], commands); !cmd.HasParent() && near != "" {
		hint = fmt.Sprintf("; did you mean %q?", near)
	}
	return exit.Usagef("unknown command %q for %s%s", args[0], cmd.CommandPath(), hint)
}

// arguments makes cobra's argument checks usage errors.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return exit.Usagef("%w; see: %s --help", err, cmd.CommandPath())
		}
		return nil
	}
}
