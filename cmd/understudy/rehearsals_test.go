package main

import (
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/report"
)

func TestRehearsalsAreShownAndAFailedOneRefusesAPromotion(t *testing.T) {
	hosts := newTestHosts(t, "host-a", "host-b")
	a, b := hosts[0], hosts[1]
	b.write("understudy.yaml", "application: {version: \"1\"}\nsources:\n  - {name: files, directory: {path: "+b.path("app")+"}}\n"+
		"hooks:\n  probe: [sh, -c, 'echo looked at \"$UNDERSTUDY_STAGED_FILES\"; test ! -e \"$0\"', "+b.path("bad")+"]\n")
	a.run("init")
	a.serve()
	b.run("join")
	b.serve()
	first := ask[backup.Ref](a, "backup")
	b.until("has rehearsed", func() bool { return ask[report.Status](b, "status").Staged == first.ID })
	for command, words := range map[string]string{
		"status": "passed of " + first.ID, "instances": "passed ", "backups": "passed on host-b",
		"backups show latest": "looked at ", "promote --dry-run --failover": "Rehearsal: passed at ",
	} {
		if out := b.run(strings.Fields(command)...); !strings.Contains(out, words) {
			t.Errorf("%s: %q is not in\n%s", command, words, out)
		}
	}
	b.write("bad", "")
	a.write("app/file", "changed")
	second := ask[backup.Ref](a, "backup")
	b.until("has failed to rehearse", func() bool { return ask[report.Status](b, "status").State == report.StateRehearsalFailed })
	b.until("has its last good stage", func() bool { return ask[report.Status](b, "status").Staged == first.ID })
	b.fails(exit.Failed, "the rehearsal of backup "+second.ID+" failed", "status", "--check")
	b.fails(exit.Refused, "--allow-failed-rehearsal", "promote", "--failover", "--yes")
	b.fails(exit.Refused, "--allow-failed-rehearsal", "promote", "--yes")
	if out := b.run("backups", "show", second.ID); !strings.Contains(out, "rehearsal on host-b: failed") || !strings.Contains(out, "exit status 1") {
		t.Errorf("%s", out)
	}
	_, stderr, code := understudy(t, b.env, "promote", "--failover", "--yes", "--allow-failed-rehearsal")
	if code != exit.Done || !strings.Contains(stderr, second.ID+": restored ") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
