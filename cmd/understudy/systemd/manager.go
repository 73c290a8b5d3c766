// Package systemd is what the program and systemd say to each other: how the agent is,
// and whether an application's unit starts at boot.
package systemd

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/understudy-ha/understudy/ha/report"
)

// Manager tells systemd how the agent is, where that has started it as
// Type=notify: that it is ready, a line for systemctl status, and that it is alive.
// Without a word within WatchdogSec= systemd ends the agent, and with it the
// application of understudy exec, or one that has BindsTo=.
type Manager struct {
	log   *slog.Logger
	every time.Duration // between two looks
	turns atomic.Uint64 // of the agent's loop
	said  string
}

// tellEvery is how often systemd is told of a change, without a watchdog.
const tellEvery = 5 * time.Second

// NewManager finds out what systemd wants to be told.
func NewManager(ctx context.Context, log *slog.Logger) *Manager {
	m := &Manager{log: log, every: tellEvery}
	switch bound, err := daemon.SdWatchdogEnabled(false); {
	case err != nil:
		log.WarnContext(ctx, "systemd's watchdog cannot be used", slog.Any("error", err))
	case bound > 0:
		m.every = min(m.every, bound/4)
	}
	return m
}

// Beat notes that the agent's loop has turned.
func (m *Manager) Beat() { m.turns.Add(1) }

// Run tells systemd how the agent is until ctx is done: that it is alive only while
// its loop turns.
func (m *Manager) Run(ctx context.Context, status func() report.Status) error {
	tick := time.NewTicker(m.every)
	defer tick.Stop()
	var seen uint64
	for {
		if turns := m.turns.Load(); turns != seen {
			if seen == 0 {
				m.tell(ctx, daemon.SdNotifyReady)
			}
			seen = turns
			m.tell(ctx, daemon.SdNotifyWatchdog)
			m.describe(ctx, status())
		}
		select {
		case <-ctx.Done():
			m.tell(ctx, daemon.SdNotifyStopping)
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Idle tells systemd that a host which waits to be set up is ready and alive, until
// ctx is done.
func (m *Manager) Idle(ctx context.Context) {
	m.tell(ctx, daemon.SdNotifyReady+"\nSTATUS=This host belongs to no cluster yet.")
	tick := time.NewTicker(m.every)
	defer tick.Stop()
	for {
		m.tell(ctx, daemon.SdNotifyWatchdog)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// describe tells systemd a line about the agent, when that is another.
func (m *Manager) describe(ctx context.Context, s report.Status) {
	line := s.Instance + ": " + s.State
	if s.App != "" {
		line += ", application " + s.App
	}
	line += "; " + s.Verdict
	if line != m.said {
		m.said = line
		m.tell(ctx, "STATUS="+strings.ReplaceAll(line, "\n", " "))
	}
}

func (m *Manager) tell(ctx context.Context, what string) {
	if _, err := daemon.SdNotify(false, what); err != nil {
		m.log.DebugContext(ctx, "systemd was not told", slog.Any("error", err))
	}
}

// ofSystemd are the variables by which systemd is told: the agent's alone.
var ofSystemd = []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}

// ChildEnviron is this process's environment without them.
func ChildEnviron() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(ofSystemd, name)
	})
}
