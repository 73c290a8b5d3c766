package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
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

// execHooks runs hooks as processes, each in a process group of its own. A
// hook's output goes to a file in dir, begun anew with every run: an
// application that the hook has started may keep it open for as long as it
// likes, and outlive the agent.
type execHooks struct {
	env []string
	dir string
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
	output := r.output(name)
	if output != nil {
		defer output.Close()
		cmd.Stdout, cmd.Stderr = output, output
	}
	err := cmd.Run()
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
	return tail(output), err
}

// withOutput is a hook's error with what the hook printed.
func withOutput(err error, output string) error {
	if err == nil || output == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, output)
}

// output opens a hook's output file; nil when that cannot be, because a full
// disk must not keep the application from being stopped.
func (r execHooks) output(name string) *os.File {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(r.dir, name+".log"), os.O_CREATE|os.O_TRUNC|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil
	}
	return f
}

// tail gives the last of a hook's output.
func tail(f *os.File) string {
	if f == nil {
		return ""
	}
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	from := max(0, info.Size()-maxHookOutput)
	data := make([]byte, info.Size()-from)
	n, err := f.ReadAt(data, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return ""
	}
	text := strings.TrimSpace(strings.ToValidUTF8(string(data[:n]), "\uFFFD"))
	if from > 0 {
		return "…" + text
	}
	return text
}
