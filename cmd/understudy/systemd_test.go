package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha/agent"
)

// fakeSystemd takes what it is told, with a watchdog of its own.
type fakeSystemd struct{ *net.UnixConn }

func newFakeSystemd(t *testing.T, watchdog time.Duration) fakeSystemd {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(watchdog.Microseconds(), 10))
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	return fakeSystemd{conn}
}

// next is what it is told within a time; "": nothing.
func (f fakeSystemd) next(t *testing.T, within time.Duration) string {
	t.Helper()
	buf := make([]byte, 4096)
	if err := f.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	n, err := f.Read(buf)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// systemd is told that the agent is ready and alive by the turns of its loop, and
// by nothing else.
func TestSystemdHearsOfTurnsOfTheLoopAlone(t *testing.T) {
	const watchdog = 200 * time.Millisecond
	systemd := newFakeSystemd(t, watchdog)
	m := newManager(t.Context(), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- m.run(ctx, func() agent.Status {
			return agent.Status{Instance: "host-a", State: agent.StateActive, Verdict: agent.VerdictHealthy}
		})
	}()
	if got := systemd.next(t, 2*watchdog); got != "" {
		t.Errorf("before the loop has turned: %q", got)
	}
	m.beat()
	for _, want := range []string{"READY=1", "WATCHDOG=1", "STATUS=host-a: active; " + agent.VerdictHealthy} {
		if got := systemd.next(t, time.Minute); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	for range 3 {
		m.beat()
		if got := systemd.next(t, time.Minute); got != "WATCHDOG=1" {
			t.Errorf("after another turn: %q", got)
		}
	}
	if got := systemd.next(t, 2*watchdog); got != "" {
		t.Errorf("while the loop hangs: %q", got)
	}
	cancel()
	if got := systemd.next(t, time.Minute); got != "STOPPING=1" {
		t.Errorf("at the end: %q", got)
	}
	<-ended
}

func TestWhatIsSystemdsIsNoChilds(t *testing.T) {
	newFakeSystemd(t, time.Second)
	for _, entry := range childEnviron() {
		if name, _, _ := strings.Cut(entry, "="); slices.Contains(ofSystemd, name) {
			t.Errorf("children have %s", entry)
		}
	}
}

// The agent as it is run tells systemd of a host that waits to be set up, and of
// one that serves.
func TestServeTellsSystemd(t *testing.T) {
	systemd := newFakeSystemd(t, 20*time.Second)
	h := newTestHosts(t, "host-a")[0]
	h.run("init")
	h.serve()
	for _, want := range []string{"READY=1", "WATCHDOG=1", "STATUS=host-a: "} {
		if got := systemd.next(t, time.Minute); !strings.HasPrefix(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	h.stop()
}
