package agent

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/blobstore/filestore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// TestTheStoryOnRealClocksFilesProcessesAndSockets has nothing replaced: a
// bucket in a folder, hooks that are processes, notifications over HTTP.
func TestTheStoryOnRealClocksFilesProcessesAndSockets(t *testing.T) {
	bucket, ring := t.TempDir(), newRing(t)
	a, b := newRealHost(t, "a", bucket, ring), newRealHost(t, "b", bucket, ring)
	a.file(t, "app/state", "one")
	if _, err := Init(t.Context(), a.cfg, ha.DefaultConfig()); err != nil {
		t.Fatal(err)
	}
	a.start(t)
	a.until(t, "active", leading)
	if _, err := Join(t.Context(), b.cfg, Joining{}); err != nil {
		t.Fatal(err)
	}
	b.start(t)
	ref, err := a.agent.requests.Backup(t.Context(), "", "test")
	if err != nil {
		t.Fatal(err)
	}
	b.until(t, "cached", func(s report.Status) bool { return len(s.Cached) > 0 && s.Cached[0].ID == ref.ID })
	a.file(t, "app/state", "two")
	id, err := b.agent.promotions.Promote(t.Context(), promotions.PromotionRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := b.agent.promotions.WaitPromotion(t.Context(), id); err != nil || s.State != promotions.PromotionDone {
		t.Fatalf("%+v, %v", s, err)
	}
	b.until(t, "active", leading)
	a.until(t, "stepped down", func(s report.Status) bool { return s.Role == ha.RoleStandby && s.Demotion == nil })
	if got, err := os.ReadFile(filepath.Join(b.dir, "app/state")); err != nil || string(got) != "two" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(a.dir, "running")); err == nil {
		t.Error("the old active's application runs")
	}
	if _, err := os.Stat(filepath.Join(b.dir, "running")); err != nil {
		t.Error("the new active's application does not run")
	}
	if a.got.Load()+b.got.Load() == 0 {
		t.Error("no notification has arrived")
	}
}

type realHost struct {
	dir   string
	cfg   Config
	agent *Agent
	at    atomic.Pointer[Agent] // that notifications go to
	got   atomic.Int64          // notifications
}

func newRealHost(t *testing.T, name, bucket string, ring *seal.Ring) *realHost {
	t.Helper()
	h := &realHost{dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(h.dir, "app"), 0o700); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	store, err := filestore.New(t.Context(), bucket, filestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	src, err := directory.New("files", directory.Config{Path: filepath.Join(h.dir, "app")})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	running := filepath.Join(h.dir, "running")
	h.cfg = Config{
		Store: store, Ring: ring, DataDir: filepath.Join(h.dir, "data"), Instance: name, URL: server.URL, Version: "test",
		Poll: time.Second, Sources: []source.Source{src}, Logger: slog.New(slog.DiscardHandler), HTTP: client, Random: rand.Reader,
		Hooks: application.Hooks{
			Env:     []string{"PATH=" + os.Getenv("PATH")},
			Promote: application.Hook{Command: []string{"touch", running}},
			Demote:  application.Hook{Command: []string{"rm", "-f", running}},
		},
	}
	return h
}

// ServeHTTP takes notifications.
func (h *realHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	a := h.at.Load()
	if err != nil || a == nil || a.notifier.VerifyNotification(r.Header, body) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	h.got.Add(1)
	a.notifier.Notified()
}

func (h *realHost) file(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (h *realHost) start(t *testing.T) {
	t.Helper()
	a, err := Open(t.Context(), h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.agent = a
	h.at.Store(a)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (h *realHost) until(t *testing.T, what string, want func(report.Status) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		changed := h.agent.Changed()
		if want(h.agent.Status()) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%s: not so after a minute: %s\n%+v", h.cfg.Instance, what, h.agent.Status())
		}
	}
}

// TestAFileThatChangesEachTimeItIsReadIsDoubtful: the backup has something of it
// that may never have been so. That is red on both hosts, the rehearsal is doubtful,
// and it is over with the next backup that reads the file whole.
func TestAFileThatChangesEachTimeItIsReadIsDoubtful(t *testing.T) {
	bucket, ring := t.TempDir(), newRing(t)
	a, b := newRealHost(t, "a", bucket, ring), newRealHost(t, "b", bucket, ring)
	a.file(t, "app/state", "one")
	busy := filepath.Join(a.dir, "app", "busy")
	if err := os.WriteFile(busy, make([]byte, 64<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	rest := keepBusy(t, busy)
	if _, err := Init(t.Context(), a.cfg, ha.DefaultConfig()); err != nil {
		t.Fatal(err)
	}
	a.start(t)
	a.until(t, "active", leading)
	if _, err := Join(t.Context(), b.cfg, Joining{}); err != nil {
		t.Fatal(err)
	}
	b.start(t)
	const text = `source files: the backup may be of no use in files that changed each time they were read ("busy")`
	says := func(s report.Status) bool {
		return strings.Contains(strings.Join(s.Problems, "\n"), text) && !s.Healthy
	}
	result := func(s report.Status) (of ha.Verdict) {
		for _, i := range s.Instances {
			if i.Name == "b" && len(i.Rehearsals) > 0 {
				of = i.Rehearsals[0].Result
			}
		}
		return of
	}
	for _, h := range []*realHost{a, b} {
		h.until(t, "the state is in doubt", says)
		h.until(t, "the rehearsal is in doubt", func(s report.Status) bool { return result(s) == ha.RehearsalDoubtful })
	}
	one := b.agent.rehearsals.List(b.agent.cached.Refs())[0]
	if want := `files: "busy" changed each time it was read`; !slices.Equal(one.Doubts, []string{want}) {
		t.Errorf("in doubt: %q", one.Doubts)
	}
	rest()
	if _, err := a.agent.requests.Backup(t.Context(), "", "test"); err != nil {
		t.Fatal(err)
	}
	for _, h := range []*realHost{a, b} {
		h.until(t, "the doubt is over", func(s report.Status) bool {
			return !strings.Contains(strings.Join(s.Problems, "\n"), "changed each time") && result(s) == ha.RehearsalPassed
		})
	}
}

// keepBusy writes to a file all the while.
func keepBusy(t *testing.T, path string) (rest func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		defer f.Close()
		for n := uint64(0); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := f.WriteAt(binary.BigEndian.AppendUint64(nil, n), int64(n%1024)<<12); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	rest = sync.OnceFunc(func() { close(stop); <-stopped })
	t.Cleanup(rest)
	return rest
}
