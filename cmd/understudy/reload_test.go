package main

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/report"
)

// hangUp sends SIGHUP, and waits for what the agent says of it.
func (h *testHost) hangUp(want report.ReloadState) (s report.Status) {
	h.t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		h.t.Fatal(err)
	}
	h.until("the file was read again: "+string(want), func() bool {
		s = ask[report.Status](h, "status")
		return s.Reload != nil && s.Reload.State == want
	})
	return s
}

// TestTheFileIsReadAgainOnSIGHUP: one that cannot be used is refused in one
// line, and the old one stays in force.
func TestTheFileIsReadAgainOnSIGHUP(t *testing.T) {
	h := newTestHosts(t, "host-a")[0]
	h.run("init")
	h.serve()
	good, err := os.ReadFile(h.path("understudy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	sources := func() int {
		made := ask[struct{ ID string }](h, "backup")
		return len(ask[control.BackupInfo](h, "backups", "show", made.ID).Sources)
	}
	h.write("understudy.yaml", string(good)+"  - {name: files, directory: {path: relative}}\n")
	s := h.hangUp(report.ReloadRefused)
	if strings.Contains(s.Reload.Error, "\n") || !strings.Contains(s.Reload.Error, "line 4") || !strings.Contains(s.Reload.Error, "not absolute") || !strings.Contains(s.Reload.Error, "taken already") {
		t.Errorf("refused: %q", s.Reload.Error)
	}
	h.fails(exit.Failed, "the old one stays in force", "status", "--check")
	if n := sources(); n != 1 {
		t.Errorf("a backup with the old file has %d sources", n)
	}
	h.write("uploads/one", "an upload")
	h.write("understudy.yaml", string(good)+"  - {name: uploads, directory: {path: "+h.path("uploads")+"}}\n")
	h.hangUp(report.ReloadDone)
	h.run("status", "--check")
	if n := sources(); n != 2 {
		t.Errorf("a backup with the new file has %d sources", n)
	}
}
