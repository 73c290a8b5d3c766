package application

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/backup/outlet"
)

// Hooks are the commands that stop, start and judge the application. An empty
// one is nothing to do. Besides Env they get UNDERSTUDY_HOOK (its name),
// UNDERSTUDY_INSTANCE, UNDERSTUDY_CLUSTER, UNDERSTUDY_ROLE and, where there is
// one, UNDERSTUDY_EPOCH, UNDERSTUDY_BACKUP (the id of the backup restored) and
// UNDERSTUDY_TRIGGER (of the backup to be made). The probe gets for each source
// UNDERSTUDY_STAGED_<NAME>: the path or database to be judged.
type Hooks struct {
	PreBackup  Hook
	PostBackup Hook
	Promote    Hook // starts the application; idempotent
	Demote     Hook // stops it, and ends once it has stopped; idempotent
	Probe      Hook // judges a staged restore
	// Env is the environment that hooks inherit, "NAME=value" each. It must not
	// hold the shared key or tokens.
	Env []string
}

// Hook is one command.
type Hook struct {
	Command []string      // argv; empty: nothing to do
	Timeout time.Duration // 0: a default; the demote hook's is the cluster's stop_timeout
}

// Defaults of a Hook's timeout.
const (
	DefaultHookTimeout  = time.Minute
	DefaultProbeTimeout = 5 * time.Minute
)

// HookNames are the names of all hooks, as Stats.HookFailures has them.
func HookNames() []string { return []string{"pre_backup", "post_backup", "promote", "demote", "probe"} }

// Runner runs hooks.
type Runner interface {
	// Run runs one hook to its end, with more environment than its own, and
	// returns the end of its output.
	Run(ctx context.Context, name string, h Hook, env []string) (output string, err error)
}

// killAfter is how long a hook that was asked to end may take to do so.
const killAfter = 5 * time.Second

// maxHookOutput is how much of a hook's output is shown, in bytes.
const maxHookOutput = 4 << 10

// Exec runs hooks as processes, each in a process group of its own. The end
// of a hook's output is kept in a file in Folder, begun anew with every run: an
// application that the hook has started may print for as long as it likes, and
// outlive the agent.
type Exec struct {
	Env    []string // that hooks inherit, "NAME=value" each
	Folder string
	// Keep reads on what a program prints that a hook has left running; nil: the agent
	// does, for as long as it runs.
	Keep outlet.Collector
}

// Run implements Runner.
func (r Exec) Run(ctx context.Context, name string, h Hook, env []string) (string, error) {
	if len(h.Command) == 0 {
		return "", nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, h.Timeout, fmt.Errorf("it took longer than %v", h.Timeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, h.Command[0], h.Command[1:]...)
	cmd.Env = append(append([]string{}, r.Env...), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	said := &outlet.Tail{Max: maxHookOutput}
	err := outlet.Run(cmd, filepath.Join(r.Folder, name+".log"), said, r.Keep)
	if ctx.Err() != nil && cmd.Process != nil {
		// Whatever of its group has outlived the TERM goes now; an empty group
		// is no error.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if err != nil {
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		err = fmt.Errorf("run %s hook (%s): %w", name, h.Command[0], err)
	}
	return said.String(), err
}

// WithOutput is a hook's error with what the hook printed.
func WithOutput(err error, output string) error {
	if err == nil || output == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, output)
}
