package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/agent"
)

// TestTheStatusCallsHealthyWhatTheAgentDoes: and lists everything else.
func TestTheStatusCallsHealthyWhatTheAgentDoes(t *testing.T) {
	for want, s := range map[string]agent.Status{
		"Healthy.\n": {Healthy: true, Verdict: agent.VerdictHealthy},
		"Nothing is wrong. To know:\n  - there is no standby\n":     {Healthy: true, Verdict: agent.VerdictToKnow, Caveats: []string{"there is no standby"}},
		"To look at:\n  - b is unreachable\nTo know:\n  - a loss\n": {Verdict: agent.VerdictToLookAt, Problems: []string{"b is unreachable"}, Caveats: []string{"a loss"}},
		"To look at:\n  - b is unreachable\n":                       {Verdict: agent.VerdictToLookAt, Problems: []string{"b is unreachable"}},
	} {
		var out bytes.Buffer
		showStatus(&out, s)
		if !strings.HasSuffix(out.String(), "\n\n"+want) {
			t.Errorf("printed\n%s\nwant it to end with\n%s", out.String(), want)
		}
	}
}

// TestADeadActiveIsNotCalledAlive: it is said when it was last seen.
func TestADeadActiveIsNotCalledAlive(t *testing.T) {
	s := agent.Status{Status: ha.Status{Role: ha.RoleStandby, HeadSeen: true, Head: &ha.Head{}}, Active: "a", HeadAlive: true, HeadAge: 25}
	if got := activeLine(s); got != "a, last seen 25s ago" {
		t.Errorf("said: %s", got)
	}
	s.HeadSeen, s.HeadAlive = false, false
	if got := activeLine(s); !strings.HasPrefix(got, "a, not seen alive in the 25s") {
		t.Errorf("of one that was never seen: %s", got)
	}
	s.Head.Stopped = true
	if got := activeLine(s); !strings.HasPrefix(got, "a, has ended in good order") {
		t.Errorf("of one that has ended: %s", got)
	}
}
