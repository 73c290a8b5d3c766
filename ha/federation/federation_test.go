package federation

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/ha/event"
)

// host is one whose Prometheus is told whom to follow.
type host struct {
	mu     sync.Mutex
	config Config
	target string
	change chan struct{}
	told   []string
}

func (h *host) Note(_ context.Context, level event.Level, _, text string, _ map[string]any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = append(h.told, string(level)+" "+text)
}
func (*host) Trouble(context.Context, string, string, string)     {}
func (*host) TroubleOver(context.Context, string, string, string) {}
func (*host) Changed()                                            {}

// set changes what is in force, and says so.
func (h *host) set(path, target string) {
	h.mu.Lock()
	h.config.TargetsFile, h.target = path, target
	close(h.change)
	h.change = make(chan struct{})
	h.mu.Unlock()
	synctest.Wait()
}

func (h *host) targets() *Targets {
	locked := func(do func()) { h.mu.Lock(); defer h.mu.Unlock(); do() }
	return NewTargets(Host{
		Config: func() (c Config) { locked(func() { c = h.config }); return c },
		Target: func() (t string) { locked(func() { t = h.target }); return t },
		Change: func() (c <-chan struct{}) { locked(func() { c = h.change }); return c },
		Log:    h,
	})
}

func says(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s says %q, %v", path, got, err)
	}
}

// TestTheFileFollowsTheActive, and another file: the one before names nobody then.
func TestTheFileFollowsTheActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := filepath.Join(t.TempDir(), "one.json"), filepath.Join(t.TempDir(), "two.json")
		h := &host{change: make(chan struct{})}
		f := h.targets()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		synctest.Wait()
		if f.Status() != nil {
			t.Error("there is a status without a file")
		}
		h.set(one, "a:9090")
		says(t, one, `[{"targets":["a:9090"]}]`+"\n")
		h.set(one, "")
		says(t, one, "[]\n")
		h.set(one, "b:9090")
		h.set(two, "b:9090")
		says(t, one, "[]\n")
		says(t, two, `[{"targets":["b:9090"]}]`+"\n")
		if s := f.Status(); s == nil || s.Target != "b:9090" || s.TargetsFile != two || s.Error != "" {
			t.Errorf("status %+v", s)
		}
		if err := h.config.Clear(); err != nil {
			t.Error(err)
		}
		says(t, two, "[]\n")
		cancel()
		<-done
	})
}

// TestAFileThatCannotBeWrittenIsToldOfOnce, and tried again.
func TestAFileThatCannotBeWrittenIsToldOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "prometheus")
		path := filepath.Join(folder, "targets.json")
		h := &host{change: make(chan struct{}), config: Config{TargetsFile: path}, target: "a:9090"}
		f := h.targets()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		<-time.After(3 * writeAgain)
		if s := f.Status(); s.Error == "" || s.Target != "" {
			t.Errorf("status %+v", s)
		}
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * writeAgain)
		says(t, path, `[{"targets":["a:9090"]}]`+"\n")
		cancel()
		<-done
		want := []string{"warn write the targets of Prometheus: the folder " + folder + " is missing: create it", "info Prometheus here federates a:9090"}
		if !slices.Equal(h.told, want) {
			t.Errorf("told %q", h.told)
		}
	})
}
