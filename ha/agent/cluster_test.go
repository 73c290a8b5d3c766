package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/seal/sealtest"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/federation"
	"github.com/understudy-ha/understudy/ha/peers"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// TestMain has the hosts' folders in memory: what is tested here is not the disk, and
// a journal is made durable with each look at the head.
func TestMain(m *testing.M) {
	const memory = "/dev/shm"
	var at unix.Statfs_t
	if os.Getenv("TMPDIR") == "" && unix.Statfs(memory, &at) == nil && int64(at.Type) == unix.TMPFS_MAGIC { //nolint:unconvert // its type is not the same on all architectures
		if err := os.Setenv("TMPDIR", memory); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// patience is how long, on a test's own clock, a condition may take to hold.
const patience = 30 * time.Minute

// inBubble runs a test on a clock of its own, which advances when nothing else
// goes on.
func inBubble(t *testing.T, test func(t *testing.T, c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.stopAll()
		test(t, c)
	})
}

// cluster is a bucket, a network and the hosts on them.
type cluster struct {
	t      *testing.T
	memory *storetest.Memory
	ring   *seal.Ring
	net    *network
	hosts  map[string]*host
}

func newCluster(t *testing.T) *cluster {
	return &cluster{
		t: t, memory: storetest.NewMemory(), ring: newRing(t),
		net: &network{}, hosts: make(map[string]*host),
	}
}

func newRing(t *testing.T) *seal.Ring {
	t.Helper()
	return sealtest.NewRing(t, rand.Reader)
}

// host is one host: an application with its state, and an agent's data folder.
type host struct {
	c      *cluster
	t      *testing.T
	name   string
	data   string
	app    string
	ring   *seal.Ring
	store  *storetest.Faulty
	hooks  *appHooks
	change func(*Config) // of the usual configuration; may be nil
	boots  int           // how often the host was rebooted
	agent  *Agent
	stop   func() error
}

func (c *cluster) host(name string) *host {
	h := &host{
		c: c, t: c.t, name: name, data: filepath.Join(c.t.TempDir(), "data"), app: filepath.Join(c.t.TempDir(), "app"),
		ring: c.ring, store: storetest.NewFaulty(c.memory), hooks: &appHooks{},
	}
	if err := os.Mkdir(h.app, 0o700); err != nil {
		c.t.Fatal(err)
	}
	c.hosts[name] = h
	return h
}

func (h *host) config() Config {
	src, err := directory.New("files", directory.Config{Path: h.app})
	if err != nil {
		h.t.Fatal(err)
	}
	cfg := Config{
		Store: h.store, Ring: h.ring, DataDir: h.data, Instance: h.name, URL: "http://" + h.name, Version: "test",
		Federation: federation.Config{TargetsFile: h.targets(), Address: h.name + ":9090"},
		Poll:       10 * time.Second, Sources: []source.Source{src}, Logger: slog.New(slog.DiscardHandler),
		HTTP: &http.Client{Transport: h.c.net}, Clock: bubbleClock{h.boots}, hooks: h.hooks, find: nobody,
		Hooks: application.Hooks{Promote: application.Hook{Command: []string{"true"}}, Demote: application.Hook{Command: []string{"true"}}},
	}
	if h.change != nil {
		h.change(&cfg)
	}
	return cfg
}

// targets is the file that this host's Prometheus would read.
func (h *host) targets() string { return filepath.Join(filepath.Dir(h.data), "targets.json") }

// nobody has anything open: the processes of the machine that runs the tests are not
// those of the host.
func nobody(context.Context, []holder.Place, func(int) bool) (holder.Found, error) {
	return holder.Found{}, nil
}

// bubbleClock reads the test's own clock.
type bubbleClock struct{ boots int }

var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (c bubbleClock) Boot() string { return fmt.Sprint("boot ", c.boots) }

func (bubbleClock) Now() ha.Now {
	now := time.Now()
	return ha.Now{Mono: now.Sub(bubbleStart), Boot: now.Sub(bubbleStart), Wall: now.UTC()}
}

func (h *host) init() {
	h.t.Helper()
	if _, err := Init(h.t.Context(), h.config(), ha.DefaultConfig()); err != nil {
		h.t.Fatalf("init %s: %v", h.name, err)
	}
}

func (h *host) join(replace bool) {
	h.t.Helper()
	if _, err := Join(h.t.Context(), h.config(), Joining{Replace: replace}); err != nil {
		h.t.Fatalf("join %s: %v", h.name, err)
	}
}

// start opens and runs the agent.
func (h *host) start() {
	h.t.Helper()
	a, err := Open(h.t.Context(), h.config())
	if err != nil {
		h.t.Fatalf("open %s: %v", h.name, err)
	}
	h.run(a)
}

func (h *host) run(a *Agent) {
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	h.agent = a
	h.c.net.attach(h.name, a)
	h.stop = sync.OnceValue(func() error {
		cancel()
		err := <-done
		h.c.net.attach(h.name, nil)
		return errors.Join(err, a.Close())
	})
}

// ended waits for an agent that stops by itself.
func (h *host) ended() error {
	<-h.agent.inbox.Stopped()
	return h.stop()
}

func (h *host) halt() {
	h.t.Helper()
	if err := h.stop(); err != nil {
		h.t.Errorf("stop %s: %v", h.name, err)
	}
}

func (c *cluster) stopAll() {
	for _, h := range c.hosts {
		if h.stop != nil {
			if err := h.stop(); err != nil {
				c.t.Errorf("stop %s: %v", h.name, err)
			}
		}
	}
}

// until waits until the agent's status is as wanted.
func (h *host) until(what string, want func(report.Status) bool) report.Status {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	for {
		changed := h.agent.Changed()
		s := h.agent.Status()
		if want(s) {
			return s
		}
		select {
		case <-changed:
		case <-h.agent.inbox.Stopped():
			h.t.Fatalf("%s: the agent stopped before it was so: %s", h.name, what)
		case <-ctx.Done():
			h.dump()
			h.t.Fatalf("%s: not so after %v: %s\n%+v", h.name, patience, what, s)
		}
	}
}

func (h *host) dump() {
	for _, e := range h.agent.Events().Recent(0, 40) {
		h.t.Logf("%s %s %s %s: %s", h.name, e.Time.Format(time.TimeOnly), e.Level, e.Kind, e.Text)
	}
}

func leading(s report.Status) bool { return s.Leading && s.App == "running" }

func (h *host) untilLeading() { h.t.Helper(); h.until("active, application running", leading) }

// untilCached waits until a backup is in the cache.
func (h *host) untilCached(id string) {
	h.t.Helper()
	h.until("backup "+id+" is cached", func(s report.Status) bool {
		return slices.ContainsFunc(s.Cached, func(ref backup.Ref) bool { return ref.ID == id }) // a newer one may be by now
	})
}

func (h *host) backup() string {
	h.t.Helper()
	ref, err := h.agent.requests.Backup(h.t.Context(), "", "test")
	if err != nil {
		h.dump()
		h.t.Fatalf("backup on %s: %v", h.name, err)
	}
	return ref.ID
}

// promote promotes and waits for the end.
func (h *host) promote(req promotions.PromotionRequest) promotions.PromotionStatus {
	h.t.Helper()
	return h.promoteBy("", req)
}

// promoteBy is promote, on somebody's word.
func (h *host) promoteBy(who string, req promotions.PromotionRequest) promotions.PromotionStatus {
	h.t.Helper()
	id, err := h.agent.promotions.Promote(event.WithActor(h.t.Context(), who), req)
	if err != nil {
		h.dump()
		h.t.Fatalf("promote %s: %v", h.name, err)
	}
	s, err := h.agent.promotions.WaitPromotion(h.t.Context(), id)
	if err != nil {
		h.t.Fatalf("promote %s: %v", h.name, err)
	}
	if s.State != promotions.PromotionDone {
		h.dump()
		h.t.Fatalf("promote %s: %s: %s", h.name, s.State, s.Error)
	}
	return s
}

func (h *host) write(name, content string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.app, name), []byte(content), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// has checks the application's whole state.
func (h *host) has(want map[string]string) {
	h.t.Helper()
	got := make(map[string]string)
	entries, err := os.ReadDir(h.app)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(h.app, e.Name()))
		if err != nil {
			h.t.Fatal(err)
		}
		got[e.Name()] = string(data)
	}
	if !maps.Equal(got, want) {
		h.t.Fatalf("%s has %v, want %v", h.name, got, want)
	}
}

// copyData copies the data folder, as a cloned host would have it.
func (h *host) copyData(to string) {
	h.t.Helper()
	if err := os.RemoveAll(to); err != nil {
		h.t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(h.data)); err != nil {
		h.t.Fatal(err)
	}
}

// appHooks is an application that hooks start and stop.
type appHooks struct {
	mu      sync.Mutex
	running bool
	calls   []string
	env     map[string][]string
	fail    map[string]error
	held    map[string]chan struct{}
}

func (a *appHooks) Run(_ context.Context, name string, h application.Hook, env []string) (string, error) {
	if len(h.Command) == 0 {
		return "", nil
	}
	a.mu.Lock()
	held := a.held[name]
	a.mu.Unlock()
	if held != nil {
		<-held
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, name)
	if a.env == nil {
		a.env = make(map[string][]string)
	}
	a.env[name] = env
	if err := a.fail[name]; err != nil {
		return name + " failed", err
	}
	switch name {
	case "promote":
		a.running = true
	case "demote":
		a.running = false
	}
	return name + " ran", nil
}

// block has a hook wait for unblock.
func (a *appHooks) block(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held = map[string]chan struct{}{name: make(chan struct{})}
}

func (a *appHooks) unblock() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, held := range a.held {
		close(held)
	}
	a.held = nil
}

func (a *appHooks) isRunning() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running
}

func (a *appHooks) setFail(name string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail = map[string]error{name: err}
}

// network carries notifications between agents.
type network struct {
	mu     sync.Mutex
	agents map[string]*Agent
	cut    bool
	bad    int                                      // notifications that were refused
	hook   func(req *http.Request, body []byte) int // answers at hooks.example.com
}

func (n *network) attach(name string, a *Agent) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.agents == nil {
		n.agents = make(map[string]*Agent)
	}
	n.agents[name] = a
}

func (n *network) setCut(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
}

// RoundTrip implements http.RoundTripper.
func (n *network) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hook != nil && req.URL.Host == "hooks.example.com" {
		code := n.hook(req, body)
		return &http.Response{StatusCode: code, Status: http.StatusText(code), Header: http.Header{"Location": {"http://elsewhere.example.com"}}, Body: http.NoBody, Request: req}, nil
	}
	a := n.agents[req.URL.Host]
	if n.cut || a == nil {
		return nil, errors.New("no route to host")
	}
	if req.URL.Path == peers.SightingPath {
		answer, err := a.sightings.Sight(req.Context(), req.Header, body)
		if err != nil {
			return &http.Response{StatusCode: http.StatusUnauthorized, Status: "401", Body: http.NoBody, Request: req}, nil
		}
		return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Body: io.NopCloser(bytes.NewReader(answer)), Request: req}, nil
	}
	code := http.StatusNoContent
	if err := a.notifier.VerifyNotification(req.Header, body); err != nil || req.URL.Path != peers.NotificationPath {
		code, n.bad = http.StatusUnauthorized, n.bad+1
	} else {
		a.notifier.Notified()
	}
	return &http.Response{StatusCode: code, Status: http.StatusText(code), Body: http.NoBody, Request: req}, nil
}

var _ blobstore.Store = (*storetest.Faulty)(nil)
