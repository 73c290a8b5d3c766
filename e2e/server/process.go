package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second
	pollEvery    = 20 * time.Millisecond
	startTries   = 5
)

// process is a running child.
type process struct {
	cmd  *exec.Cmd
	log  string        // the file with its output
	done chan struct{} // closed when it has ended
	err  error         // how it ended; read after done
}

// launch starts cmd with its output appended to the file log. The kernel
// sends it onDeath should this process die.
func launch(cmd *exec.Cmd, log string, onDeath syscall.Signal) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	p := &process{cmd: cmd, log: log, done: make(chan struct{})}
	err = Start(cmd, onDeath, func(err error) {
		p.err = err
		close(p.done)
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// Start starts a child, and calls ended with how it ended. The kernel sends the
// child onDeath should this process die.
func Start(cmd *exec.Cmd, onDeath syscall.Signal, ended func(error)) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = onDeath
	started := make(chan error)
	go func() {
		// The kernel watches the thread that started the child, not the whole
		// process: this one lives as long as the child does, and is no other
		// child's.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended(cmd.Wait())
		}
	}()
	return <-started
}

// ready waits until check succeeds, the process ends, or it takes too long.
func (p *process) ready(check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("%s ended: %w\n%s", p.cmd.Path, errors.Join(p.err, errEnded), p.tail())
		case <-ctx.Done():
			p.stop(syscall.SIGKILL)
			return fmt.Errorf("%s is not ready after %s: %w\n%s", p.cmd.Path, startTimeout, err, p.tail())
		}
	}
}

// errEnded says that a server ended by itself while it was starting, as it
// does when somebody else has taken its port.
var errEnded = errors.New("ended while starting")

// stop sends a signal and waits for the end; a process that does not end in
// time is killed. Stopping what has ended does nothing.
func (p *process) stop(sig os.Signal) {
	_ = p.cmd.Process.Signal(sig) // fails only if it has ended
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// tail returns the end of the output.
func (p *process) tail() string {
	const keep = 4 << 10
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return strings.ToValidUTF8(string(data[max(0, len(data)-keep):]), "?")
}

// onFreePort calls start with free ports until one of them is still free when
// the server asks for it.
func onFreePort(start func(port int) error) error {
	var err error
	for range startTries {
		var port int
		if port, err = freePort(); err != nil {
			return err
		}
		if err = start(port); !errors.Is(err, errEnded) {
			return err
		}
	}
	return err
}
