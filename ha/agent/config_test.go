package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/report"
)

func TestConfigChangesReachEveryInstance(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		if err := a.agent.shared.SetConfig(t.Context(), map[string]string{"frequency": "1m"}); err != nil {
			t.Fatal(err)
		}
		if s := a.agent.Status(); time.Duration(s.Config.Frequency) != time.Minute {
			t.Errorf("frequency %v", s.Config.Frequency)
		}
		b.until("the new frequency", func(s report.Status) bool { return time.Duration(s.Config.Frequency) == time.Minute })
		first := a.agent.Status().LastBackup.ID
		b.until("a scheduled backup", func(s report.Status) bool { return len(s.Cached) > 0 && s.Cached[0].ID != first })
		b.halt()
		dir, err := datadir.Open(t.Context(), b.data)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		if got := dir.LoadConfig(); got.Config == nil || got.Digest != a.agent.Status().Config.Digest {
			t.Error("the configuration in force is not kept on disk")
		}
	})
}

func TestConfigThatCannotBeIsRefusedAndChangesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		before := a.agent.Status().Config.Digest
		for _, bad := range [][3]string{
			{"frequency", "59s", "at most once a minute"},
			{"frequency", "soon", "is not a duration"},
			{"ttl", "45s", "too short"},
			{"fencing", "maybe", "unknown"},
			{"retention", "0s", "longer than nothing"},
			{"colour", "red", "frequency, retention"},
		} {
			err := a.agent.shared.SetConfig(t.Context(), map[string]string{bad[0]: bad[1], "margin": "9s"})
			if !errors.Is(err, ha.ErrInvalid) || !strings.Contains(err.Error(), bad[2]) {
				t.Errorf("set %s to %s: %v, want it to say %q", bad[0], bad[1], err, bad[2])
			}
		}
		if err := b.agent.shared.SetConfig(t.Context(), map[string]string{"frequency": "1m"}); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "on a (http://a)") {
			t.Errorf("on a standby: %v", err)
		}
		if now := a.agent.Status().Config.Digest; now != before {
			t.Error("the configuration has changed")
		}
	})
}

func TestDurationsMayBeInDays(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "14d": 14 * 24 * time.Hour, "1d12h": 36 * time.Hour, "1.5d": 36 * time.Hour,
	} {
		if got, err := ha.ParseDuration(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "1dx", "x", "5"} {
		if got, err := ha.ParseDuration(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
}
