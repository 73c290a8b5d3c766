package main

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/report"
)

// testHost is a host of a cluster on a folder, in this process.
type testHost struct {
	t    *testing.T
	dir  string
	env  map[string]string
	stop func() (stderr string, code int)
}

// idleHooks are those of an application that is no process: it is stopped as soon as
// that is asked for.
const idleHooks = "hooks: {promote: ['true'], demote: ['true']}\n"

// idle gives hosts the hooks of an application that is no process.
func idle(hosts ...*testHost) {
	for _, h := range hosts {
		h.t.Helper()
		text, err := os.ReadFile(h.path("understudy.yaml"))
		if err != nil {
			h.t.Fatal(err)
		}
		h.write("understudy.yaml", string(text)+idleHooks)
	}
}

// newTestHosts makes hosts with one bucket and one key.
func newTestHosts(t *testing.T, names ...string) []*testHost {
	t.Helper()
	dir := t.TempDir()
	line, _, _ := understudy(t, nil, "key", "generate")
	var hosts []*testHost
	for _, name := range names {
		h := &testHost{t: t, dir: filepath.Join(dir, name)}
		h.write("app/file", "content of "+name)
		h.write("key", line)
		h.write("understudy.yaml", "application: {version: \"1\"}\nsources:\n  - {name: files, directory: {path: "+h.path("app")+"}}\n")
		h.env = map[string]string{
			"UNDERSTUDY_BUCKET": "file://" + filepath.Join(dir, "bucket"), "UNDERSTUDY_KEY_FILE": h.path("key"),
			"UNDERSTUDY_INSTANCE": name, "UNDERSTUDY_LISTEN": "127.0.0.1:0", "UNDERSTUDY_POLL": "100ms",
			"UNDERSTUDY_DATA_DIR": h.path("data"), "UNDERSTUDY_CONFIG": h.path("understudy.yaml"),
			"UNDERSTUDY_ENVIRONMENT_FILE": "none", // also for programs of their own
		}
		hosts = append(hosts, h)
	}
	return hosts
}

func (h *testHost) path(name string) string { return filepath.Join(h.dir, name) }

func (h *testHost) write(name, text string) {
	h.t.Helper()
	path := h.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// run runs a command that must succeed.
func (h *testHost) run(args ...string) string {
	h.t.Helper()
	out, stderr, code := understudy(h.t, h.env, args...)
	if code != exit.Done {
		h.t.Fatalf("understudy %s: exit %d: %s%s", strings.Join(args, " "), code, out, stderr)
	}
	return out
}

// fails runs a command that must fail, with words on standard error.
func (h *testHost) fails(code int, words string, args ...string) {
	h.t.Helper()
	out, stderr, got := understudy(h.t, h.env, args...)
	if got != code || !strings.Contains(stderr, words) {
		h.t.Errorf("understudy %s: exit %d, want %d with %q: %s%s", strings.Join(args, " "), got, code, words, out, stderr)
	}
}

func ask[T any](h *testHost, args ...string) T {
	h.t.Helper()
	var v T
	if out := h.run(append(args, "--json")...); json.Unmarshal([]byte(out), &v) != nil {
		h.t.Fatalf("understudy %s --json printed %s", strings.Join(args, " "), out)
	}
	return v
}

// serve runs the agent until the test ends, or stop is called.
func (h *testHost) serve() {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	type ended struct {
		stderr string
		code   int
	}
	done := make(chan ended, 1)
	go func() {
		_, stderr, code := understudyCtx(ctx, h.env, "serve")
		done <- ended{stderr, code}
	}()
	var last *ended
	h.stop = func() (string, int) {
		cancel()
		if last == nil {
			e := <-done
			last = &e
		}
		return last.stderr, last.code
	}
	h.t.Cleanup(func() { h.stop() })
	h.until("answers", func() bool {
		_, _, code := understudy(h.t, h.env, "status")
		return code == exit.Done
	})
}

// background runs a command whose output can be read meanwhile. end stops it,
// and gives its exit code.
func (h *testHost) background(args ...string) (out, errout *output, end func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	out, errout = new(output), new(output)
	env, done := maps.Clone(h.env), make(chan int, 1)
	go func() {
		lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
		done <- run(ctx, args, lookup, terminal.Streams{In: strings.NewReader(""), Out: out, Err: errout})
	}()
	return out, errout, sync.OnceValue(func() int {
		cancel()
		return <-done
	})
}

func (h *testHost) until(what string, check func() bool) {
	h.t.Helper()
	deadline, tick := time.After(time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-tick.C:
		case <-deadline:
			h.t.Fatalf("not within a minute: %s", what)
		}
	}
}

func (h *testHost) caches(id string) {
	h.t.Helper()
	h.until("caches "+id, func() bool {
		for _, ref := range ask[report.Status](h, "status").Cached {
			if ref.ID == id {
				return true
			}
		}
		return false
	})
}
