package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backup/environ"
	"github.com/understudy-ha/understudy/backup/outlet"
)

const keepOutputCommand = "keep-output"

// newKeepOutput is the process that reads what something prints that a hook has
// left running. Only an agent starts it.
func newKeepOutput() *cobra.Command {
	return &cobra.Command{
		Use:               keepOutputCommand + " FILE",
		Short:             "Keep the end of what something prints that a hook has left running",
		Example:           "  yes | understudy keep-output /var/lib/understudy/hooks/promote.log",
		Hidden:            true,
		Args:              arguments(cobra.ExactArgs(1)),
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil }, // it has no settings
		RunE: func(cmd *cobra.Command, args []string) error {
			return outlet.Keep(cmd.InOrStdin(), args[0])
		},
	}
}

// keepOutput starts that process. It outlives the agent, and ends with the last
// who prints.
func keepOutput(pipe *os.File, path string) error {
	cmd := exec.Command("/proc/self/exe", keepOutputCommand, path) //nolint:noctx // it outlives what starts it
	cmd.Stdin = pipe
	cmd.Env = environ.WithoutSecrets(os.Environ())
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start what keeps an output: %w", err)
	}
	go func() { _ = cmd.Wait() }() // how it ends says nothing
	return nil
}
