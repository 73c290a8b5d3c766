// Package program runs the programs that sources use.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/backup/environ"
	"github.com/understudy-ha/understudy/backup/outlet"
)

// StderrKept is how many bytes of a program's error output go into an error.
const StderrKept = 4 << 10

// exitGrace is how long a program that was killed may keep its pipes open.
const exitGrace = 2 * time.Second

// Environ is the agent's environment without its secrets, and then extra,
// which wins.
func Environ(extra ...string) []string { return append(environ.WithoutSecrets(os.Environ()), extra...) }

// Program says what to run. No shell has a part in it.
type Program struct {
	Argv  []string
	Env   []string // all of it
	Stdin io.Reader
}

// Command prepares the program to run in a process group of its own, which is
// killed as a whole when ctx ends: a wrapper script does not outlive its
// child's time-out, nor the other way about.
func (p Program) Command(ctx context.Context, stderr io.Writer) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.Argv[0], p.Argv[1:]...)
	cmd.Env = p.Env
	cmd.Stdin = p.Stdin
	cmd.Stderr = stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = exitGrace
	return cmd
}

// Failure is the error of a program that ended with err: why, and the end of
// what it said.
func (p Program) Failure(ctx context.Context, err error, stderr fmt.Stringer) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	what := "run " + filepath.Base(p.Argv[0])
	if said := stderr.String(); said != "" {
		return fmt.Errorf("%s: %w: %s", what, err, said)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Run runs the program to its end. What it prints is dropped, but for the end
// of its error output in the error.
func (p Program) Run(ctx context.Context) error {
	_, err := p.RunSaid(ctx)
	return err
}

// RunSaid is run, and returns the end of the error output of a program that
// succeeds, too.
func (p Program) RunSaid(ctx context.Context) (said string, err error) {
	stderr := &outlet.Tail{Max: StderrKept}
	if err := p.Command(ctx, stderr).Run(); err != nil {
		return "", p.Failure(ctx, err, stderr)
	}
	return stderr.String(), nil
}

// Running is a running program's standard output. Its end is io.EOF only when
// the program has succeeded; otherwise Read fails with the program's error, so
// that half an output is never taken for a whole one.
type Running struct {
	ctx    context.Context
	prog   Program
	cmd    *exec.Cmd
	stdout io.ReadCloser
	Stderr *outlet.Tail
	cancel context.CancelFunc
	wait   func() error
}

// Start starts the program. The caller closes the output, which also ends a
// program that still runs.
func (p Program) Start(ctx context.Context) (*Running, error) {
	ctx, cancel := context.WithCancel(ctx)
	stderr := &outlet.Tail{Max: StderrKept}
	cmd := p.Command(ctx, stderr)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, fmt.Errorf("pipe from %s: %w", p.Argv[0], err)
	}
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("start %s: %w", p.Argv[0], err)
	}
	// A grandchild that left the process group may hold the pipe open: reading
	// ends with the context all the same.
	stop := context.AfterFunc(ctx, func() { _ = stdout.Close() })
	o := &Running{ctx: ctx, prog: p, cmd: cmd, stdout: stdout, Stderr: stderr, cancel: cancel}
	o.wait = sync.OnceValue(func() error {
		err := cmd.Wait()
		stop()
		if err != nil {
			return p.Failure(ctx, err, stderr)
		}
		return nil
	})
	return o, nil
}

// Read implements io.Reader.
func (o *Running) Read(b []byte) (int, error) {
	n, err := o.stdout.Read(b)
	if err == nil {
		return n, nil
	}
	if failed := o.wait(); failed != nil {
		return n, failed
	}
	if errors.Is(err, os.ErrClosed) { // read again after the end
		err = io.EOF
	}
	return n, err
}

// Close ends the program if it still runs, and waits for it.
func (o *Running) Close() error {
	o.cancel()
	_ = o.wait() // the reader was told of a failure; a stop asked for is none
	return nil
}
