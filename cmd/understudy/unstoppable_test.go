package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/cmd/understudy/doctor"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/report"
)

// TestThatNobodyCanStopTheApplicationIsSaid: by the doctor, by status, before a
// promotion; and it keeps the fencing from being strict.
func TestThatNobodyCanStopTheApplicationIsSaid(t *testing.T) {
	hosts := newTestHosts(t, "host-a", "host-b")
	a, b := hosts[0], hosts[1]
	idle(b) // and a has none
	a.run("init")
	a.serve()
	if !slices.ContainsFunc(ask[[]doctor.Finding](a, "doctor"), func(f doctor.Finding) bool {
		return f.Name == "hook demote" && f.Result == doctor.Warning && strings.Contains(f.Detail, "strict fencing is refused")
	}) {
		t.Error("the doctor says nothing of it")
	}
	b.run("join")
	b.serve()
	b.caches(ask[backup.Ref](a, "backup").ID)
	b.until("a was seen", func() bool { return ask[report.Status](b, "status").HeadAlive })
	for _, h := range hosts {
		if out := h.run("status"); !strings.Contains(out, "can stop the application") {
			t.Errorf("status says nothing of it:\n%s", out)
		}
	}
	a.fails(exit.Refused, "on host-a there is nothing: configure hooks.demote", "config", "set", "fencing", "strict")
	b.fails(exit.Refused, "--application-is-stopped", "promote", "--dry-run")
	b.fails(exit.Usage, "no terminal", "promote")
	if out := b.run("promote", "--failover", "--dry-run"); !strings.Contains(out, "Note: nothing on host-a can stop the application") {
		t.Errorf("the dry run of a failover says nothing of it:\n%s", out)
	}
	if out := b.run("promote", "--application-is-stopped", "--dry-run"); !strings.Contains(out, "is your word, and nobody looks") {
		t.Errorf("the dry run does not say whose word it is:\n%s", out)
	}
	if _, stderr, code := understudy(t, b.env, "promote", "--yes"); code != exit.Done || !strings.Contains(stderr, "--yes says that somebody has") {
		t.Errorf("promote --yes: exit %d:\n%s", code, stderr)
	}
	if out := b.run("events", "--cluster"); !strings.Contains(out, "on the word that the application of the old active is stopped") {
		t.Errorf("the word is not recorded:\n%s", out)
	}
	b.until("it is the active", func() bool { return ask[report.Status](b, "status").Leading })

	// Where it is strict, such a host does not come in.
	b.until("a has stepped down", func() bool { return ask[report.Status](a, "status").State == report.StateInSync })
	a.stop()
	a.run("leave")
	b.run("config", "set", "fencing", "strict")
	a.fails(exit.Usage, "the fencing of this cluster is strict", "join")
	a.run("join", "--exec")
	if _, stderr, code := understudy(t, a.env, "serve"); code != exit.Usage || !strings.Contains(stderr, "configure hooks.demote") {
		t.Errorf("serve: exit %d: %s", code, stderr)
	}
}
