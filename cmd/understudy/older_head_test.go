package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/report"
)

// bucketFolder is the folder that a host's bucket is.
func (h *testHost) bucketFolder() string {
	return strings.TrimPrefix(h.env["UNDERSTUDY_BUCKET"], "file://")
}

// putBack puts the bucket back to what it was when it was copied to a folder.
func (h *testHost) putBack(from string) {
	h.t.Helper()
	if err := os.RemoveAll(h.bucketFolder()); err != nil {
		h.t.Fatal(err)
	}
	if err := os.CopyFS(h.bucketFolder(), os.DirFS(from)); err != nil {
		h.t.Fatal(err)
	}
}

// A host that has seen a newer head than the bucket shows says so in every
// command that reads the head, and takes nothing there for the newest.
func TestEveryCommandComparesTheHeadWithTheJournal(t *testing.T) {
	hosts := newTestHosts(t, "host-a", "host-b")
	a, b := hosts[0], hosts[1]
	a.run("init")
	a.serve()
	first := ask[backup.Ref](a, "backup")
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(a.bucketFolder())); err != nil {
		t.Fatal(err)
	}
	ask[backup.Ref](a, "backup")
	a.stop()
	a.putBack(copied)

	const told = "the head was rolled back"
	to := func() string { return filepath.Join(t.TempDir(), "new") }
	a.fails(exit.Refused, "--older-head", "restore", "latest", "--to", to())
	a.fails(exit.Failed, told, "verify")
	a.fails(exit.Failed, told, "verify", "latest", "--deep")
	a.fails(exit.Bucket, "a promotion would not be safe", "doctor")
	if out, _, _ := understudy(t, a.env, "doctor"); !strings.Contains(out, told) {
		t.Errorf("doctor: %s", out)
	}
	for _, args := range [][]string{
		{"restore", "latest", "--older-head", "--to", to()}, {"restore", first.ID, "--to", to()}, {"verify", first.ID},
		{"backups"}, {"backups", "show", "latest"}, {"backups", "diff", first.ID, "latest"}, {"events", "--cluster"},
	} {
		for _, flag := range [][]string{nil, {"--json"}} {
			args := append(args, flag...)
			if args[0] == "restore" && flag != nil {
				args[len(args)-2] = to()
			}
			if _, stderr, code := understudy(t, a.env, args...); code != exit.Done || strings.Count(stderr, told) != 1 {
				t.Errorf("understudy %s: exit %d: %s", strings.Join(args, " "), code, stderr)
			}
		}
	}
	// Who has seen nothing newer has nothing to compare with.
	if _, stderr, code := understudy(t, b.env, "restore", "latest", "--to", to()); code != exit.Done || strings.Contains(stderr, told) {
		t.Errorf("restore elsewhere: exit %d: %s", code, stderr)
	}

	a.serve()
	a.until("has looked at the bucket", func() bool { return !strings.Contains(ask[report.Status](a, "status").Bucket, "not read") })
	if list := ask[[]control.BackupInfo](a, "backups"); len(list) == 0 {
		t.Errorf("backups: %+v", list)
	}
	for _, args := range [][]string{{"backups"}, {"events", "--cluster"}} {
		if _, stderr, code := understudy(t, a.env, args...); code != exit.Done || !strings.Contains(stderr, told) {
			t.Errorf("understudy %s, by the agent: exit %d: %s", strings.Join(args, " "), code, stderr)
		}
	}
	if out, _, code := understudy(t, a.env, "status", "--check"); code != exit.Failed || !strings.Contains(out, told) {
		t.Errorf("status: exit %d: %s", code, out)
	}
	a.fails(exit.Bucket, told, "backups", "show", "latest")
	a.stop()
}
