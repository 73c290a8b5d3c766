package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/report"
)

// TestTheStatusCallsHealthyWhatTheAgentDoes: and lists everything else.
func TestTheStatusCallsHealthyWhatTheAgentDoes(t *testing.T) {
	for want, s := range map[string]report.Status{
		"Healthy.\n": {Healthy: true, Verdict: report.VerdictHealthy},
		"Nothing is wrong. To know:\n  - there is no standby\n":     {Healthy: true, Verdict: report.VerdictToKnow, Caveats: []string{"there is no standby"}},
		"To look at:\n  - b is unreachable\nTo know:\n  - a loss\n": {Verdict: report.VerdictToLookAt, Problems: []string{"b is unreachable"}, Caveats: []string{"a loss"}},
		"To look at:\n  - b is unreachable\n":                       {Verdict: report.VerdictToLookAt, Problems: []string{"b is unreachable"}},
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
	s := report.Status{Status: ha.Status{Role: ha.RoleStandby, HeadSeen: true, Head: &ha.Head{}}, Active: "a", HeadAlive: true, HeadAge: 25}
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

// TestStatusFitsAHundredColumns: whatever is in it.
func TestStatusFitsAHundredColumns(t *testing.T) {
	long := strings.Repeat("a long sentence about what is wrong, ", 12) + strings.Repeat("x", 150)
	name := strings.Repeat("n", 63)
	now := time.Now()
	i := report.InstanceStatus{
		Name: name, Self: true, Role: ha.RoleStandby, State: report.StateRehearsalFailed, URL: "https://" + name + ".example.com:7878", Lag: 1e7,
		LastSeen: &now, LastError: long, Cached: []string{"a"}, Rehearsals: []ha.Rehearsal{{Result: "failed", Time: now, Backup: name}},
	}
	other := i
	other.Self, other.Name = false, ""
	s := report.Status{
		Instance: name, Cluster: name, Active: name, Outlook: long, Policy: "every backup", InstancesAge: 100,
		Problems: []string{long, long}, Caveats: []string{long}, Instances: []report.InstanceStatus{i, other}, LastBackup: &backup.Ref{ID: name},
		Status: ha.Status{Role: ha.RoleStandby, Bucket: long, Work: long},
	}
	var out bytes.Buffer
	showStatus(terminal.Page(&out, 200), s)
	for line := range strings.SplitSeq(out.String(), "\n") {
		if n := utf8.RuneCountInString(line); n > 100 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if n := strings.Count(out.String(), "x"); n < 8*150 {
		t.Errorf("something is cut off:\n%s", out.String())
	}
}
