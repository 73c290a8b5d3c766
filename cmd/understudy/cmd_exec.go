package main

import (
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/supervisor"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/application"
)

func newExec(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec [flags] -- COMMAND [ARGUMENT...]",
		Short: "Run the agent of this host, and the application while this host is the active",
		Long: `Run the agent of this host, as understudy serve does, and COMMAND as its child
while this host is the active: started once the bucket has confirmed that, stopped
when another host takes over. It replaces the promote and demote hooks.

COMMAND is the application itself: it must stay in the foreground. It gets this
command's standard output and error, no input, and the environment without the
shared key, the admin token and the credentials of the bucket (but for those that
UNDERSTUDY_INHERIT names), with UNDERSTUDY_INSTANCE, UNDERSTUDY_CLUSTER,
UNDERSTUDY_ROLE, UNDERSTUDY_EPOCH and UNDERSTUDY_BACKUP. What else stands in
/etc/understudy/environment is in it too.

To stop it, all that it has started gets SIGTERM, and what is left at the cluster's
stop_timeout SIGKILL: grandchildren and daemons too. It is stopped:

  - when this host steps down, hands over, or, under strict fencing, cannot renew
    its claim; also by a watching process of its own, at the same bound, when the
    agent hangs or is stopped with SIGSTOP
  - when the agent ends: by SIGTERM or Ctrl-C, a crash, or kill -9

When COMMAND ends by itself, that is an alarm among the events, understudy status
shows the application as down, and it is started again, after a pause that grows
from a second to half a minute. No other host is promoted because of it.`,
		Example: `  understudy exec -- myapp --listen :8080
  understudy exec --data-dir /srv/understudy -- sh -c 'exec myapp >>/var/log/myapp.log 2>&1'`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.runsApp = true
			return a.serve(cmd.Context(), func(cfg agent.Config) (application.Supervisor, error) {
				return newSupervisor(a.std, a.set.Config, cfg, args)
			})
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows COMMAND is its own
	return cmd
}

// newSupervisor is what runs the application's command.
func newSupervisor(std terminal.Streams, config string, cfg agent.Config, command []string) (application.Supervisor, error) {
	if err := noHooksBesideExec(cfg.Hooks, config); err != nil {
		return nil, err
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return nil, exit.Usagef("find the application: %w", err)
	}
	return supervisor.New(supervisor.Config{
		Command:  append([]string{path}, command[1:]...),
		Watchdog: []string{"/proc/self/exe", watchdogCommand, "--"}, // this program, even if its file has been replaced
		Env:      cfg.Hooks.Env,
		Lock:     filepath.Join(cfg.DataDir, "application.lock"),
		Stdout:   std.Out, Stderr: std.Err,
	}), nil
}

// noHooksBesideExec refuses hooks that would do what exec does.
func noHooksBesideExec(h application.Hooks, path string) error {
	if len(h.Promote.Command) > 0 || len(h.Demote.Command) > 0 {
		return exit.Usagef("configuration %s: hooks.promote and hooks.demote start and stop the application, and so does understudy exec: take the hooks out, or use understudy serve", path)
	}
	return nil
}
