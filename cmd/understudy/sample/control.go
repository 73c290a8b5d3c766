package sample

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	look      = 10 * time.Millisecond // how often start and stop look
	startWait = 30 * time.Second
	killWait  = 10 * time.Second
)

// start runs the application in the background and returns when it serves.
func start(ctx context.Context, c config, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	dir := runDir(c.runDir)
	pid, err := dir.running()
	if err != nil {
		return err
	}
	var exited <-chan struct{}
	if pid == 0 {
		if exited, err = launch(ctx, c); err != nil && !errors.Is(err, errRunning) {
			return err
		}
	}
	pid, err = awaitHealthy(ctx, dir, exited)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	fmt.Fprintf(out, "sample: running, pid %d\n", pid)
	return nil
}

// launch starts this program again as a process of its own session, which
// outlives this one and what started it. It has the lock from before it begins: whoever
// stops the application meanwhile, because this start is not to go on, finds it.
func launch(ctx context.Context, c config) (<-chan struct{}, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	lock, err := runDir(c.runDir).take(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	log, err := os.OpenFile(runDir(c.runDir).logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), exe, c.arguments()...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{lock}
	cmd.Env = append(os.Environ(), lockVariable+"=3") // the first after the standard ones
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", exe, err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // the log says why
	}()
	return exited, nil
}

// awaitHealthy waits until the process that holds the lock answers. exited
// tells of the end of a process that was launched for it; another one may have
// been faster, so that is an end only when nobody runs.
func awaitHealthy(ctx context.Context, dir runDir, exited <-chan struct{}) (int, error) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		pid, err := dir.running()
		if err != nil {
			return 0, err
		}
		if pid > 0 && healthy(ctx, dir, pid) {
			return pid, nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("wait until it serves: %w; see %s", ctx.Err(), dir.logFile())
		case <-exited:
			exited = nil
			if pid, err := dir.running(); err != nil || pid == 0 {
				return 0, errors.Join(fmt.Errorf("it ended at once: %s", lastLine(dir.logFile())), err)
			}
		case <-tick.C:
		}
	}
}

func lastLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(string(bytes.TrimSpace(b)), "\n")
	return lines[len(lines)-1]
}

func healthy(ctx context.Context, dir runDir, pid int) bool {
	var h health
	err := ask(ctx, dir, http.MethodGet, "/healthz", nil, &h)
	return err == nil && h.PID == pid
}

// stop ends the application and returns when its process is gone: TERM, then
// KILL after a bound.
func stop(ctx context.Context, c config, out io.Writer) error {
	dir := runDir(c.runDir)
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, c.stopWait}, {syscall.SIGKILL, killWait}} {
		gone, err := signalAndWait(ctx, dir, step.signal, step.wait)
		if err != nil {
			return fmt.Errorf("stop: %w", err)
		}
		if gone {
			fmt.Fprintln(out, "sample: not running")
			return nil
		}
	}
	return fmt.Errorf("stop: it still runs after KILL")
}

// signalAndWait signals whoever holds the lock, until nobody does or the wait
// is over.
func signalAndWait(ctx context.Context, dir runDir, sig syscall.Signal, wait time.Duration) (gone bool, err error) {
	over := time.NewTimer(wait)
	defer over.Stop()
	tick := time.NewTicker(look)
	defer tick.Stop()
	signalled := 0
	for {
		pid, err := dir.running()
		if err != nil {
			return false, err
		}
		if pid == 0 {
			return true, nil
		}
		if pid > 0 && pid != signalled {
			if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
				return false, fmt.Errorf("signal process %d: %w", pid, err)
			}
			signalled = pid
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-over.C:
			return false, nil
		case <-tick.C:
		}
	}
}

func status(_ context.Context, c config, out io.Writer) error {
	pid, err := runDir(c.runDir).running()
	if err != nil {
		return err
	}
	if pid == 0 {
		return ErrNotRunning
	}
	fmt.Fprintf(out, "sample: running, pid %d\n", pid)
	return nil
}

func quiesce(ctx context.Context, c config, _ io.Writer) error {
	return tell(ctx, c, "/quiesce", url.Values{"hold": {c.hold.String()}})
}

func resume(ctx context.Context, c config, _ io.Writer) error {
	return tell(ctx, c, "/resume", nil)
}

// tell sends a wish to the running application; where none runs there is
// nothing to hold or to resume.
func tell(ctx context.Context, c config, path string, form url.Values) error {
	dir := runDir(c.runDir)
	pid, err := dir.running()
	if err != nil || pid == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	if _, err := awaitHealthy(ctx, dir, nil); err != nil {
		return err
	}
	return ask(ctx, dir, http.MethodPost, path, form, nil)
}

// ask sends one request to the running application.
func ask(ctx context.Context, dir runDir, method, path string, form url.Values, into any) error {
	base, err := dir.url()
	if err != nil {
		return err
	}
	if base == "" {
		return ErrNotRunning
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("ask the application: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask the application: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		return fmt.Errorf("ask the application: %s: %s", resp.Status, bytes.TrimSpace(text))
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read the application's answer: %w", err)
	}
	return nil
}
