package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/understudy-ha/understudy/cmd/understudy/sample"
	"github.com/understudy-ha/understudy/ha/client"
	"github.com/understudy-ha/understudy/ha/report"
)

// host is one of the demo's hosts: a folder, an agent, an application.
type host struct {
	name    string
	dir     string
	program string
	address string
	env     []string // of every command and agent on this host
	app     []string // flags of the application
	agent   *process
	api     *client.Client // of the agent
}

// Bounds of what is bound to come, on a slow machine too.
const (
	patience  = time.Minute
	lookEvery = 10 * time.Millisecond
)

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// folder of the application's state, which is what is backed up.
func (h *host) data() string { return h.path("app") }

// appCommand is a subcommand of the application, on this host's data.
func (h *host) appCommand(verb string) []string {
	return append(append(append([]string{h.program}, AppCommand...), verb), h.app...)
}

// writeConfig writes what to back up and how to start and stop the
// application. A restored backup has the layout of the application's folder,
// so that its check reads either.
func (h *host) writeConfig() error {
	text, err := yaml.Marshal(map[string]any{
		"application": map[string]any{"version": "1.0"},
		"sources": []map[string]any{
			{"name": "sample.db", "sqlite": map[string]any{"path": filepath.Join(h.data(), "sample.db")}},
			{"name": "uploads", "directory": map[string]any{"path": filepath.Join(h.data(), "uploads")}},
		},
		"hooks": map[string]any{
			"pre_backup":  h.appCommand("quiesce"),
			"post_backup": h.appCommand("resume"),
			"promote":     h.appCommand("start"),
			"demote":      h.appCommand("stop"),
		},
	})
	if err != nil {
		return fmt.Errorf("write configuration of %s: %w", h.name, err)
	}
	if err := os.WriteFile(h.path("understudy.yaml"), text, 0o600); err != nil {
		return fmt.Errorf("write configuration of %s: %w", h.name, err)
	}
	return nil
}

// run runs a command of this program on the host and gives its output.
func (h *host) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, h.program, args...)
	cmd.Env = h.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the demo alone
	var out, errout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errout
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("understudy %s, on %s: %w: %s", strings.Join(args, " "), h.name, err, bytes.TrimSpace(errout.Bytes()))
	}
	return out.Bytes(), nil
}

// do runs a command for what it does.
func (h *host) do(ctx context.Context, args ...string) error {
	_, err := h.run(ctx, args...)
	return err
}

// query runs a command with --json and decodes what it prints.
func query[T any](ctx context.Context, h *host, args ...string) (T, error) {
	var v T
	out, err := h.run(ctx, append(args, "--json")...)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(out, &v); err != nil {
		return v, fmt.Errorf("read what understudy %s printed on %s: %w", strings.Join(args, " "), h.name, err)
	}
	return v, nil
}

// runApp runs a subcommand of the application.
func (h *host) runApp(ctx context.Context, verb string) error {
	return h.do(ctx, h.appCommand(verb)[1:]...)
}

// serve starts the agent and waits until it answers.
func (h *host) serve(ctx context.Context) error {
	cmd := exec.Command(h.program, "serve") //nolint:noctx // it outlives what started it, and is ended by stop or kill
	cmd.Env = h.env
	p, err := startProcess(cmd, h.path("agent.log"))
	if err != nil {
		return fmt.Errorf("start the agent of %s: %w", h.name, err)
	}
	h.agent = p
	return h.await(ctx, "answers", func(report.Status) error { return nil })
}

// status asks the agent, as `understudy status` does.
func (h *host) status(ctx context.Context) (report.Status, error) {
	var s report.Status
	err := h.api.Do(ctx, http.MethodGet, "/api/v1/status", nil, &s)
	return s, err
}

// await waits until the agent's status passes the check.
func (h *host) await(ctx context.Context, what string, check func(report.Status) error) error {
	return await(ctx, h.name+" "+what, func() error {
		if h.agent.ended() {
			return errDemoEnded
		}
		s, err := h.status(ctx)
		if err != nil {
			return err
		}
		return check(s)
	})
}

var errDemoEnded = errors.New("the agent has ended")

// await waits until a check passes.
func await(ctx context.Context, what string, check func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %v", patience))
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		last := check()
		if last == nil {
			return nil
		}
		if errors.Is(last, errDemoEnded) {
			return fmt.Errorf("wait until %s: %w", what, last)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w: %w", what, context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}

// settles waits until the host is in a state, with nothing under way.
func (h *host) settles(ctx context.Context, state string) error {
	return h.await(ctx, "is "+state, func(s report.Status) error {
		if s.State != state || s.Promotion != nil || s.Demotion != nil {
			return fmt.Errorf("it is %s %s", s.State, strings.Join(s.Problems, "; "))
		}
		return nil
	})
}

// knows waits until the host has others in its table of instances.
func (h *host) knows(ctx context.Context, others ...*host) error {
	return h.await(ctx, "knows the other hosts", func(s report.Status) error {
		names := map[string]bool{}
		for _, i := range s.Instances {
			names[i.Name] = true
		}
		for _, o := range others {
			if !names[o.name] {
				return errors.New(o.name + " is missing")
			}
		}
		return nil
	})
}

// caches waits until the host has verified a backup and keeps it.
func (h *host) caches(ctx context.Context, id string) error {
	return h.await(ctx, "has backup "+id+" in its cache", func(s report.Status) error {
		for _, ref := range s.Cached {
			if ref.ID == id {
				return nil
			}
		}
		return errors.New("it has not: " + s.PullError)
	})
}

// rehearses waits until the host has rehearsed a backup.
func (h *host) rehearses(ctx context.Context, id string) error {
	return h.await(ctx, "has rehearsed backup "+id, func(s report.Status) error {
		if s.Staged != id || s.Rehearsed.Error != "" {
			return fmt.Errorf("it has not: staged is %q %s", s.Staged, s.Rehearsed.Error)
		}
		return nil
	})
}

// told waits for a notification, which is sent after the backup.
func (h *host) told(ctx context.Context) error {
	return h.await(ctx, "was notified", func(s report.Status) error {
		if s.Stats.NotificationsGot == 0 {
			return errors.New("no notification came")
		}
		return nil
	})
}

// check has the application verify a folder of state, against a ledger.
func (h *host) check(ctx context.Context, data string, ledger ledger) (sample.Findings, error) {
	var f sample.Findings
	out, err := h.run(ctx, append(slices.Clone(AppCommand), "check", "--data", data, "--ledger", string(ledger))...)
	if len(out) > 0 {
		if err := json.Unmarshal(out, &f); err != nil {
			return f, fmt.Errorf("read the application's findings: %w", err)
		}
	}
	switch {
	case len(f.Problems) > 0:
		return f, fmt.Errorf("the application's data is damaged: %s", strings.Join(f.Problems, "; "))
	case err == nil && f.Ledger == nil:
		return f, errors.New("the application did not look at the ledger")
	}
	return f, err
}

// restored restores a backup by hand into a folder of its own, which it names.
func (h *host) restored(ctx context.Context, id string) (string, error) {
	dir := h.path("restored-" + id)
	return dir, h.do(ctx, "restore", id, "--to", dir)
}

// appPID gives the process of the running application.
func (h *host) appPID() (int, error) {
	text, err := os.ReadFile(filepath.Join(h.path("run"), "pid"))
	if err != nil {
		return 0, fmt.Errorf("find the application of %s: %w", h.name, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("find the application of %s: %w", h.name, err)
	}
	return pid, nil
}

// appStarts counts how often the application was started, by its own log.
func (h *host) appStarts() (int, error) {
	log, err := os.ReadFile(filepath.Join(h.path("run"), "log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("read the application's log: %w", err)
	}
	return bytes.Count(log, []byte("sample: serving on")), nil
}

// appStopped checks that the application does not run.
func (h *host) appStopped(ctx context.Context) error {
	err := h.runApp(ctx, "status")
	var exit *exec.ExitError
	switch {
	case err == nil:
		return fmt.Errorf("the application of %s runs", h.name)
	case errors.As(err, &exit) && exit.ExitCode() == exitNotRunning:
		return nil
	}
	return err
}

// crash kills agent and application, as the loss of the machine would.
func (h *host) crash() error {
	pid, err := h.appPID()
	if err != nil {
		return err
	}
	h.agent.kill()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill the application of %s: %w", h.name, err)
	}
	return nil
}
