package agent

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// TestTheStatusSaysWhetherAPromotionWouldWork: on the standby, and on the
// active.
func TestTheStatusSaysWhetherAPromotionWouldWork(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		b.until("ready", func(s report.Status) bool {
			return strings.HasPrefix(s.Outlook, "a switchover would lose nothing") && strings.HasSuffix(s.Outlook, "that backup is rehearsed")
		})
		a.until("the active knows who could take over", func(s report.Status) bool {
			return strings.HasPrefix(s.Outlook, "this instance is the active; b or d could take over and lose nothing")
		})
		lacking := *b.agent.live()
		lacking.Hooks.Promote = application.Hook{Command: []string{"/no/such/program"}}
		lacking.AppVersion = func(context.Context) (string, error) { return "2", nil }
		if err := b.agent.reloading.Reload(t.Context(), lacking); err != nil {
			t.Fatal(err)
		}
		s := b.until("it lacks its promote hook", func(s report.Status) bool { return len(s.Blockers) > 0 })
		if !strings.HasPrefix(s.Outlook, "not now: ") || !strings.Contains(s.Outlook, "/no/such/program") || s.Healthy {
			t.Errorf("%q: %q", s.Outlook, s.Problems)
		}
		if p, err := b.agent.promotions.Preflight(t.Context(), promotions.PromotionRequest{Mode: ha.ModeFailover}); err != nil || p.OK {
			t.Errorf("and a promotion would work: %+v, %v", p, err)
		}
		lacking.Hooks.Promote = application.Hook{Command: []string{"true"}}
		if err := b.agent.reloading.Reload(t.Context(), lacking); err != nil {
			t.Fatal(err)
		}
		b.until("it has everything", func(s report.Status) bool { return s.Healthy && len(s.Blockers) == 0 })
		a.halt()
		b.until("the active is silent", func(s report.Status) bool {
			return strings.HasPrefix(s.Outlook, "by failover only: a is silent for")
		})
	})
}

// setFlags sets a file's inode flags until the end of the test.
func setFlags(t *testing.T, path string, flags int) {
	t.Helper()
	set := func(flags int) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	was, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		t.Fatal(err)
	}
	set(was | flags)
	t.Cleanup(func() { set(was) })
}

// What a promotion could not rename is a blocker of the standby, and what it could
// not delete is to be known there, before anybody promotes.
func TestWhatASwapWouldMeetIsSaidBeforeAPromotion(t *testing.T) {
	const immutable = 0x10
	inBubble(t, func(t *testing.T, c *cluster) {
		_, b, _, _ := threeHosts(t, c)
		b.until("ready", func(s report.Status) bool { return s.Ready && s.Healthy })
		locked := filepath.Join(b.app, "locked")
		if err := os.WriteFile(locked, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		setFlags(t, locked, immutable)
		b.until("what cannot be deleted is known", func(s report.Status) bool {
			return s.Healthy && s.Ready && strings.Contains(strings.Join(s.Caveats, "\n"), `source files: what a promotion replaces here could not be deleted, and would take room until somebody does: "locked" is immutable`)
		})
		p, err := b.agent.promotions.Preflight(t.Context(), promotions.PromotionRequest{Mode: ha.ModeSwitchover})
		if err != nil || !p.OK || !slices.ContainsFunc(p.Checks, func(c promotions.Check) bool { return c.OK && strings.Contains(c.Detail, `"locked" is immutable`) }) {
			t.Errorf("%+v, %v", p, err)
		}
		setFlags(t, b.app, immutable)
		b.until("what cannot be replaced is known", func(s report.Status) bool {
			return !s.Healthy && !s.Ready && strings.Contains(s.Outlook, "cannot be replaced, because it is immutable: chattr -i "+b.app)
		})
		if p, err := b.agent.promotions.Preflight(t.Context(), promotions.PromotionRequest{Mode: ha.ModeSwitchover}); err != nil || p.OK {
			t.Errorf("and a promotion would work: %+v, %v", p, err)
		}
	})
}
