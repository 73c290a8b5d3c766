package agent

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/backup/outlet"
)

// HookNames are the names of all hooks, as Stats.HookFailures has them.
func HookNames() []string { return []string{"pre_backup", "post_backup", "promote", "demote", "probe"} }

// hookRunner runs hooks; tests have another one.
type hookRunner interface {
	// run runs one hook to its end, with more environment than its own, and
	// gives the end of its output.
	run(ctx context.Context, name string, h Hook, env []string) (output string, err error)
}

// killAfter is how long a hook that was asked to end may take to do so.
const killAfter = 5 * time.Second

// maxHookOutput is how much of a hook's output is shown, in bytes.
const maxHookOutput = 4 << 10

// execHooks runs hooks as processes, each in a process group of its own. The end
// of a hook's output is kept in a file in dir, begun anew with every run: an
// application that the hook has started may print for as long as it likes, and
// outlive the agent.
type execHooks struct {
	env  []string
	dir  string
	keep outlet.Collector
}

func (r execHooks) run(ctx context.Context, name string, h Hook, env []string) (string, error) {
	if len(h.Command) == 0 {
		return "", nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, h.Timeout, fmt.Errorf("it took longer than %v", h.Timeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, h.Command[0], h.Command[1:]...)
	cmd.Env = append(append([]string{}, r.env...), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	said := &outlet.Tail{Max: maxHookOutput}
	err := outlet.Run(cmd, filepath.Join(r.dir, name+".log"), said, r.keep)
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

// withOutput is a hook's error with what the hook printed.
func withOutput(err error, output string) error {
	if err == nil || output == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, output)
}
