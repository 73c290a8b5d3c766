package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
)

// One attribute that cannot be set costs no data: the report and the exit code
// say it.
func TestRestoreByHandGoesOnAndSaysWhatItLacks(t *testing.T) {
	a := newTestHosts(t, "host-a")[0]
	if err := unix.Setxattr(a.path("app/file"), "user.origin", []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	a.run("init")
	a.serve()
	a.run("backup")
	if err := os.Mkdir(a.path("ram"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("ramfs", a.path("ram"), "ramfs", 0, ""); err != nil {
		t.Fatalf("mount a volume (the tests run as root): %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(a.path("ram"), unix.MNT_DETACH) })
	out, stderr, code := understudy(t, a.env, "restore", "latest", "--to", a.path("ram/o"))
	if data, err := os.ReadFile(a.path("ram/o/files/file")); string(data) != "content of host-a" {
		t.Errorf("restored %q: %v", data, err)
	}
	if code != exit.Failed || !strings.Contains(out, "files/file: attributes not set") || !strings.Contains(stderr, "1 things") {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
	out, _, code = understudy(t, a.env, "restore", "latest", "--to", a.path("ram/j"), "--json")
	var said restoredJSON
	if err := json.Unmarshal([]byte(out), &said); err != nil || code != exit.Failed || said.LossesTotal != 1 || said.Losses[0].Path != "file" {
		t.Errorf("exit %d: %s: %v", code, out, err)
	}
	a.fails(exit.Failed, "user.origin", "restore", "latest", "--to", a.path("ram/s"), "--strict")
	if _, err := os.Lstat(a.path("ram/s")); !os.IsNotExist(err) {
		t.Errorf("with --strict something is left: %v", err)
	}
	a.run("restore", "latest", "--to", a.path("whole"))
}
