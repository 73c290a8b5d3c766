package main

import (
	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/supervisor"
)

const watchdogCommand = "exec-watchdog"

// newWatchdog is the process between an agent and the application that it runs.
// Only understudy exec starts it.
func newWatchdog() *cobra.Command {
	return &cobra.Command{
		Use:               watchdogCommand + " -- COMMAND [ARGUMENT...]",
		Short:             "Watch over the application for understudy exec",
		Example:           "  understudy exec -- myapp",
		Hidden:            true,
		Args:              arguments(cobra.MinimumNArgs(1)),
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil }, // it has no settings
		RunE: func(cmd *cobra.Command, args []string) error {
			supervisor.Watch(cmd.Context(), args)
			return nil
		},
	}
}
