package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha/report"
)

// cluster is hosts that share a bucket and a key.
type cluster struct {
	t      *testing.T
	bucket string
	env    []string // credentials of the bucket
	key    string   // file
	dir    string
	agents string // the program of its agents
	hosts  []*host
}

// host is one machine: a folder, an agent process, an application.
type host struct {
	t        *testing.T
	name     string
	dir      string
	bin      string // the program of its agent
	commands string // the program for commands
	env      []string
	agent    *exec.Cmd
	exited   chan struct{}
	app      application
}

// application is what is backed up beside an agent, and the hooks that start
// and stop it.
type application interface {
	// config is the YAML of sources and hooks.
	config() string
	// rows reads the application's table: serial → digest.
	rows(t *testing.T) map[int64]string
	// restored reads the table from what `understudy restore --to dir` wrote.
	restored(t *testing.T, dir string) map[int64]string
	// running reports whether the application runs.
	running(t *testing.T) bool
	// starts counts how often it was started.
	starts(t *testing.T) int
	// crash kills the application and its database; revive brings the database
	// back, and not the application.
	crash(t *testing.T)
	revive(t *testing.T)
	// stop ends the application when the test ends.
	stop(t *testing.T)
}

func newCluster(t *testing.T, bucket string, env []string) *cluster {
	t.Helper()
	c := &cluster{t: t, bucket: bucket, env: env, dir: t.TempDir(), agents: understudyBin()}
	if *allRaced {
		c.raced()
	}
	c.key = filepath.Join(c.dir, "key")
	out, err := exec.CommandContext(t.Context(), understudyBin(), "key", "generate").Output()
	if err != nil {
		t.Fatalf("generate a key: %v", err)
	}
	if err := os.WriteFile(c.key, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// raced has the agents of hosts that are added from now on look for races. Commands do not:
// they look at conditions, again and again, and would take three times as much of a core.
func (c *cluster) raced() *cluster {
	c.agents = racedBin()
	return c
}

// host adds a host with an application.
func (c *cluster) host(name string, app application) *host {
	c.t.Helper()
	h := &host{t: c.t, name: name, bin: c.agents, commands: understudyBin(), dir: filepath.Join(c.dir, name), app: app}
	if err := os.MkdirAll(h.dir, 0o755); err != nil {
		c.t.Fatal(err)
	}
	config := h.path("understudy.yaml")
	if err := os.WriteFile(config, []byte(app.config()), 0o600); err != nil {
		c.t.Fatal(err)
	}
	address := server.FreeAddress(c.t)
	h.env = append(append(os.Environ(), c.env...),
		"UNDERSTUDY_BUCKET="+c.bucket,
		"UNDERSTUDY_KEY_FILE="+c.key,
		"UNDERSTUDY_INSTANCE="+name,
		"UNDERSTUDY_LISTEN="+address,
		"UNDERSTUDY_URL=http://"+address,
		"UNDERSTUDY_DATA_DIR="+h.path("data"),
		"UNDERSTUDY_CONFIG="+config,
		"UNDERSTUDY_POLL=1s",
		"UNDERSTUDY_LOG_LEVEL=debug",
		"UNDERSTUDY_ENVIRONMENT_FILE=none", // of the machine that the tests run on
	)
	c.hosts = append(c.hosts, h)
	c.t.Cleanup(func() {
		h.stopAgent()
		app.stop(c.t)
		if c.t.Failed() {
			log, _ := os.ReadFile(h.path("agent.log"))
			c.t.Logf("log of %s:\n%s", name, tail(log, 64<<10))
		}
	})
	return h
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// patience bounds a command and a condition.
const patience = 2 * time.Minute

// result is what a command did.
type result struct {
	code        int
	out, errout string
}

// try runs a command on the host.
func (h *host) try(args ...string) result {
	h.t.Helper()
	return h.tryFor(patience, args...)
}

func (h *host) tryFor(limit time.Duration, args ...string) result {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.commands, args...)
	cmd.Env = h.env
	var out, errout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errout
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		h.t.Fatalf("%s: run understudy %s: %v", h.name, strings.Join(args, " "), err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errout.String()}
}

// run runs a command that must succeed, and gives its output.
func (h *host) run(args ...string) string {
	h.t.Helper()
	r := h.try(args...)
	if r.code != 0 {
		h.t.Fatalf("%s: understudy %s: exit %d\n%s%s", h.name, strings.Join(args, " "), r.code, r.out, r.errout)
	}
	return r.out
}

// query runs a command with --json and decodes its answer.
func query[T any](h *host, args ...string) T {
	h.t.Helper()
	var v T
	out := h.run(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		h.t.Fatalf("%s: understudy %s --json: %v\n%s", h.name, strings.Join(args, " "), err, out)
	}
	return v
}

// serve starts the agent and waits until it answers.
func (h *host) serve() {
	h.t.Helper()
	h.launch()
	h.eventually("the agent answers", func() error {
		select {
		case <-h.exited:
			log, _ := os.ReadFile(h.path("agent.log"))
			h.t.Fatalf("%s: the agent ended at once:\n%s", h.name, tail(log, 4<<10))
		default:
		}
		if r := h.try("status", "--json"); r.code != 0 {
			return errors.New(r.errout)
		}
		return nil
	})
}

func (h *host) launch() {
	h.t.Helper()
	log, err := os.OpenFile(h.path("agent.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.Command(h.bin, "serve")
	cmd.Env, cmd.Stdout, cmd.Stderr = h.env, log, log
	exited := make(chan struct{})
	err = server.Start(cmd, syscall.SIGKILL, func(error) { // how it ended is seen in the log
		_ = log.Close()
		close(exited)
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.agent, h.exited = cmd, exited
}

// stopAgent stops the agent in an orderly way.
func (h *host) stopAgent() {
	if h.agent == nil {
		return
	}
	_ = h.agent.Process.Signal(syscall.SIGTERM)
	select {
	case <-h.exited:
		h.agent = nil
	case <-time.After(patience):
		h.t.Errorf("%s: the agent does not stop within %v, and is killed: its log says what it does", h.name, patience)
		_ = h.agent.Process.Signal(syscall.SIGQUIT)
		select {
		case <-h.exited:
			h.agent = nil
		case <-time.After(patience):
			h.killAgent()
		}
	}
}

// killAgent kills the agent, as a crash would.
func (h *host) killAgent() {
	_ = h.agent.Process.Kill()
	<-h.exited
	h.agent = nil
}

func (h *host) status() report.Status {
	h.t.Helper()
	return query[report.Status](h, "status")
}

// output runs a program, which is killed if it takes longer than patience, and
// returns what it prints.
func output(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = patience // what it has started may have its output open
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// background starts a command on the host, whose result is of interest later. It is
// killed if it outlives the test.
func (h *host) background(args ...string) <-chan result {
	h.t.Helper()
	var out, errout bytes.Buffer
	cmd := exec.CommandContext(h.t.Context(), h.commands, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = h.env, &out, &errout
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	done := make(chan result, 1)
	go func() {
		_ = cmd.Wait() // the exit code says it
		done <- result{cmd.ProcessState.ExitCode(), out.String(), errout.String()}
	}()
	return done
}

// received waits for what is bound to come through a channel.
func received[T any](t *testing.T, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatalf("%s: not within %v", what, patience)
	}
	return v
}

// eventually waits for a condition that is bound to come.
func (h *host) eventually(what string, check func() error) {
	h.t.Helper()
	eventually(h.t, h.name+": "+what, check)
}

// suspend stops a process (SIGSTOP) while it does not hold the lock of a bucket that is a
// folder: nobody could use the bucket then.
func (c *cluster) suspend(process *os.Process) {
	c.t.Helper()
	if dir, ok := strings.CutPrefix(c.bucket, "file://"); ok {
		lock := flock.New(filepath.Join(dir, ".store", "lock"))
		if _, err := lock.TryLockContext(c.t.Context(), time.Millisecond); err != nil {
			c.t.Fatal(err)
		}
		defer lock.Close()
	}
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		c.t.Fatal(err)
	}
	eventually(c.t, "the process stands still", func() error {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process.Pid))
		if err == nil && !strings.Contains(string(status), "State:\tT") {
			err = errors.New("it runs")
		}
		return err
	})
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	within(t, patience, what, check)
}

// checkEvery lies between two looks at a condition. A look may start a program: looks without
// a rest keep what they wait for from its work.
const checkEvery = 250 * time.Millisecond

func within(t *testing.T, limit time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-time.After(checkEvery):
		case <-deadline.C:
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
	}
}

// caches waits until the host has a backup in its cache.
func (h *host) caches(id string) {
	h.t.Helper()
	h.eventually("caches "+id, func() error {
		for _, ref := range h.status().Cached {
			if ref.ID == id {
				return nil
			}
		}
		return errors.New("not cached")
	})
}

// rehearses waits until the host has the newest backup staged.
func (h *host) rehearses() {
	h.t.Helper()
	h.eventually("has rehearsed the newest backup", func() error {
		s := h.status()
		if s.LastBackup == nil || s.Staged != s.LastBackup.ID {
			return fmt.Errorf("staged is %q, newest %v, problems %q", s.Staged, s.LastBackup, s.Problems)
		}
		return nil
	})
}

// is waits until the host has settled in a role.
func (h *host) is(state string) {
	h.t.Helper()
	h.eventually("is "+state, func() error {
		s := h.status()
		if s.State != state || s.Promotion != nil || s.Demotion != nil {
			return fmt.Errorf("state %q, promotion %v, demotion %v, problems %q", s.State, s.Promotion, s.Demotion, s.Problems)
		}
		return nil
	})
}
