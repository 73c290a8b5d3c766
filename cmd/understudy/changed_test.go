package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/report"
)

// volume mounts a file system, until the test ends or umount.
func (h *testHost) volume(name string) {
	h.t.Helper()
	if err := os.MkdirAll(h.path(name), 0o755); err != nil {
		h.t.Fatal(err)
	}
	err := unix.Mount("understudy", h.path(name), "tmpfs", 0, "size=256m")
	if err != nil {
		h.t.Fatalf("mount a volume (the tests run as root): %v", err)
	}
	h.t.Cleanup(func() { _ = unix.Unmount(h.path(name), unix.MNT_DETACH) })
}

func (h *testHost) umount(name string) {
	h.t.Helper()
	if err := unix.Unmount(h.path(name), 0); err != nil {
		h.t.Fatal(err)
	}
}

func (h *testHost) fill(name string, files int) {
	h.t.Helper()
	for i := range files {
		h.write(fmt.Sprintf("%s/f%d", name, i), "content")
	}
}

func (h *testHost) count(name string) int {
	h.t.Helper()
	entries, err := os.ReadDir(h.path(name))
	if err != nil {
		h.t.Fatal(err)
	}
	return len(slices.DeleteFunc(entries, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), ".") }))
}

func mentions(all []string, words string) bool {
	return slices.ContainsFunc(all, func(text string) bool { return strings.Contains(text, words) })
}

// After a restart of the host the volume is not mounted.
func TestAnUnmountedVolumeIsNotPublished(t *testing.T) {
	hosts := newTestHosts(t, "host-a", "host-b")
	idle(hosts...)
	a, b := hosts[0], hosts[1]
	a.volume("app")
	a.fill("app", 120)
	a.run("init")
	a.serve()
	before := ask[backup.Ref](a, "backup")
	b.run("join")
	b.serve()
	b.caches(before.ID)
	a.stop()
	a.umount("app")
	a.serve()
	const why = "had 120 files, has 1" // which newTestHosts has made
	a.fails(exit.Failed, why, "backup")
	for _, h := range hosts {
		h.until("is red", func() bool {
			s := ask[report.Status](h, "status")
			return !s.Healthy && mentions(s.Problems, why) && s.LastBackup.ID == before.ID
		})
	}
	if s := ask[report.Status](a, "status"); len(s.Changes) != 1 || s.Changes[0].Source != "files" || !strings.Contains(s.Changes[0].What, "is on the root disk") {
		t.Errorf("changes: %+v", s.Changes)
	}
	// A switchover's final backup is one like any other.
	if _, stderr, code := understudy(t, b.env, "promote", "--yes"); code == exit.Done || !strings.Contains(stderr, why) {
		t.Errorf("a switchover: exit %d: %s", code, stderr)
	}
	a.until("goes on as the active", func() bool {
		s := ask[report.Status](a, "status")
		return s.Role == ha.RoleActive && s.Leading && s.Handover == nil && s.App == "running"
	})
	a.fails(exit.Usage, "no source", "backup", "--accept-change", "nothing")
	a.fails(exit.Usage, "--accept-change", "backup", "files")
	b.fails(exit.Refused, "host-a", "backup", "--accept-change")
	after := ask[backup.Ref](a, "backup", "--accept-change", "files")
	if info := ask[control.BackupInfo](a, "backups", "show", after.ID); !mentions(warningsOf(info), why[len("had 120 files, "):]) && !mentions(warningsOf(info), "is on the root disk") {
		t.Errorf("warnings of what was confirmed: %q", warningsOf(info))
	}
	a.until("is well again", func() bool {
		s := ask[report.Status](a, "status")
		return len(s.Changes) == 0 && !mentions(s.Problems, why)
	})
	a.run("backup")
}

// What is mounted again is right again, without a word.
func TestAVolumeThatIsMountedAgainIsWellAgain(t *testing.T) {
	a := newTestHosts(t, "host-a")[0]
	real := a.path("real")
	a.volume("real")
	a.fill("real", 3)
	bind := func() {
		if err := unix.Mount(real, a.path("app"), "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
	}
	bind()
	t.Cleanup(func() { _ = unix.Unmount(a.path("app"), unix.MNT_DETACH) })
	a.run("init")
	a.serve()
	a.run("backup")
	a.umount("app")
	a.fails(exit.Failed, "had 3 files, has 1", "backup")
	bind()
	a.run("backup")
	if s := ask[report.Status](a, "status"); len(s.Changes) > 0 {
		t.Errorf("changes: %+v", s.Changes)
	}
}

// A standby's volume is not mounted: what would be restored on the root disk
// would be out of sight later.
func TestNothingIsRestoredWhereAVolumeIsNotMounted(t *testing.T) {
	hosts := newTestHosts(t, "host-a", "host-b")
	idle(hosts...)
	a, b := hosts[0], hosts[1]
	a.fill("app", 5)
	a.run("init")
	a.serve()
	first := ask[backup.Ref](a, "backup")
	b.volume("app")
	b.run("join")
	b.serve()
	staged := func(id string) {
		b.until("stages "+id, func() bool { return ask[report.Status](b, "status").Staged == id })
	}
	staged(first.ID)
	b.stop()
	b.umount("app")
	b.serve()
	a.write("app/more", "x")
	second := ask[backup.Ref](a, "backup")
	b.caches(second.ID)
	const why = "understudy accept-change files"
	b.fails(exit.Refused, why, "promote", "--yes")
	b.fails(exit.Refused, why, "promote", "--yes", "--failover", "--allow-failed-rehearsal")
	for _, h := range hosts {
		h.until("is red", func() bool { return mentions(ask[report.Status](h, "status").Problems, why) })
	}
	entries, err := os.ReadDir(b.dir)
	if err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return strings.Contains(e.Name(), "staged") }) {
		t.Errorf("it was staged on the root disk: %v, %v", entries, err)
	}
	if out := b.run("accept-change"); !strings.Contains(out, "Confirmed: source files") {
		t.Errorf("confirmed: %s", out)
	}
	staged(second.ID)
	b.until("can take over", func() bool { return len(ask[report.Status](b, "status").Blockers) == 0 })
	b.run("promote", "--yes")
	if n := b.count("app"); n != a.count("app") {
		t.Errorf("promoted to %d files", n)
	}
	b.run("backup") // what was confirmed for the restore holds for the backup
}
