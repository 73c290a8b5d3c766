package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha/agent"
)

func TestRestoreAndVerifyNeedNoAgent(t *testing.T) {
	hosts := newTestHosts(t, "host-a", "host-b")
	a, b := hosts[0], hosts[1]
	a.run("init")
	a.serve()
	ref := ask[backup.Ref](a, "backup")
	b.run("join")
	b.serve()
	b.caches(ref.ID)
	a.stop()
	b.stop()
	restored := func(h *testHost, from string, args ...string) {
		t.Helper()
		to := filepath.Join(t.TempDir(), "new")
		r := ask[restoredJSON](h, append([]string{"restore", "--to", to}, args...)...)
		content, err := os.ReadFile(filepath.Join(to, "files", "file"))
		if err != nil || string(content) != "content of host-a" || r.From != from || r.Backup != ref {
			t.Errorf("restored %+v: %q, %v", r, content, err)
		}
	}
	restored(a, fromBucket, ref.ID)
	restored(a, fromBucket, "latest")
	restored(b, fromCache, "latest")
	for _, args := range [][]string{{}, {"--deep"}, {ref.ID, "--deep"}} {
		if v := ask[verifiedJSON](a, append([]string{"verify"}, args...)...); !v.OK || v.In != fromBucket {
			t.Errorf("verify %v: %+v", args, v)
		}
	}
	if v := ask[verifiedJSON](b, "verify", "--cached", "--deep"); v.In != fromCache {
		t.Errorf("verify --cached: %+v", v)
	}
	if list := ask[[]agent.BackupInfo](a, "backups"); len(list) == 0 || list[0].ID != ref.ID {
		t.Errorf("backups: %+v", list)
	}
	a.fails(exitFailed, "no backup", "restore", "nope", "--to", filepath.Join(t.TempDir(), "new"))
	a.fails(exitFailed, "not empty", "restore", "latest", "--to", a.dir)
	a.fails(exitUsage, "--to", "restore", "latest")

	delete(b.env, "UNDERSTUDY_BUCKET")
	restored(b, fromCache, "latest")
	restored(b, fromCache, ref.ID)
	delete(a.env, "UNDERSTUDY_BUCKET")
	a.fails(exitUsage, "no bucket is set", "restore", ref.ID, "--to", t.TempDir())
	empty := map[string]string{"UNDERSTUDY_DATA_DIR": filepath.Join(t.TempDir(), "none")}
	if _, stderr, code := understudy(t, empty, "restore", "latest", "--to", t.TempDir()); code != exitUsage {
		t.Errorf("nothing to restore from: exit %d: %s", code, stderr)
	}
	if _, err := os.Stat(empty["UNDERSTUDY_DATA_DIR"]); err == nil {
		t.Error("a restore made a data folder")
	}
}
