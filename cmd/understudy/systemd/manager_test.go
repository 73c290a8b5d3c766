package systemd

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/cmd/understudy/systemd/systemdtest"
	"github.com/understudy-ha/understudy/ha/report"
)

// systemd is told that the agent is ready and alive by the turns of its loop, and
// by nothing else.
func TestSystemdHearsOfTurnsOfTheLoopAlone(t *testing.T) {
	const watchdog = 200 * time.Millisecond
	fake := systemdtest.New(t, watchdog)
	m := NewManager(t.Context(), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- m.Run(ctx, func() report.Status {
			return report.Status{Instance: "host-a", State: report.StateActive, Verdict: report.VerdictHealthy}
		})
	}()
	if got := fake.Next(t, 2*watchdog); got != "" {
		t.Errorf("before the loop has turned: %q", got)
	}
	m.Beat()
	for _, want := range []string{"READY=1", "WATCHDOG=1", "STATUS=host-a: active; " + report.VerdictHealthy} {
		if got := fake.Next(t, time.Minute); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	for range 3 {
		m.Beat()
		if got := fake.Next(t, time.Minute); got != "WATCHDOG=1" {
			t.Errorf("after another turn: %q", got)
		}
	}
	if got := fake.Next(t, 2*watchdog); got != "" {
		t.Errorf("while the loop hangs: %q", got)
	}
	cancel()
	if got := fake.Next(t, time.Minute); got != "STOPPING=1" {
		t.Errorf("at the end: %q", got)
	}
	<-ended
}

func TestWhatIsSystemdsIsNoChilds(t *testing.T) {
	systemdtest.New(t, time.Second)
	for _, entry := range ChildEnviron() {
		if name, _, _ := strings.Cut(entry, "="); slices.Contains(ofSystemd, name) {
			t.Errorf("children have %s", entry)
		}
	}
}
