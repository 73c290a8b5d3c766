package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/cmd/understudy/backups"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/promotions"
)

// TestBackupsDiffTellsWhatAFailoverLost compares the backups of both branches,
// and the salvage backup.
func TestBackupsDiffTellsWhatAFailoverLost(t *testing.T) {
	hosts := newTestHosts(t, "host-a", "host-b")
	a, b := hosts[0], hosts[1]
	a.run("init")
	a.serve()
	b.run("join")
	b.serve()
	for _, kv := range [][2]string{{"stop_timeout", "1s"}, {"margin", "1s"}, {"ttl", "3s"}} {
		a.run("config", "set", kv[0], kv[1])
	}
	first := ask[backup.Ref](a, "backup")
	a.write("app/later", "published, and cut off")
	second := ask[backup.Ref](a, "backup")
	b.caches(second.ID)
	a.stop()
	a.write("app/file", "never published")
	// The machine is told what people are: what is lost, and how to look at it.
	done := ask[promotedJSON](b, "promote", first.ID, "--failover", "--yes")
	if done.State != promotions.PromotionDone || done.Takeover == nil || done.Takeover.CutOff != second.ID ||
		!slices.ContainsFunc(done.Takeover.Lost, func(line string) bool { return strings.Contains(line, "can still be restored: understudy backups") }) {
		t.Errorf("promote --json: %+v, takeover %+v", done, done.Takeover)
	}
	a.serve()
	var salvage control.BackupInfo
	a.until("is salvaged", func() bool {
		for _, info := range ask[[]control.BackupInfo](b, "backups") {
			if info.Salvage {
				salvage = info
			}
		}
		return salvage.ID != ""
	})
	b.stop() // no agent is asked
	if r := ask[restoredJSON](b, "restore", salvage.ID, "--to", b.path("salvaged")); !r.Salvage || len(r.Lacks) > 0 {
		t.Errorf("restore --json: %+v", r)
	}

	d := ask[diffJSON](b, "backups", "diff", second.ID, salvage.ID)
	want := []source.Change{{Change: source.Changed, Path: "file", Type: "file", What: []string{"content", "size", "mtime"}, SizeA: 17, SizeB: 15}}
	if len(d.Sources) != 1 || d.Same || d.A.From != backups.FromCache || d.B.From != backups.FromBucket || d.B.Trigger != string(backup.Salvage) {
		t.Fatalf("%+v", d)
	}
	if diff := cmp.Diff(want, d.Sources[0].Changes); diff != "" {
		t.Error(diff)
	}
	out := b.run("backups", "diff", first.ID, salvage.ID)
	for _, words := range []string{
		"A  " + first.ID, "by host-a (salvage), from the bucket", "files   directory  1 (22 B) added, 0 removed, 1 (15 B) changed",
		"  changed  file ", "content, size, mtime (17 B → 15 B)", "  added    later ", "22 B",
	} {
		if !strings.Contains(out, words) {
			t.Errorf("%q is not in\n%s", words, out)
		}
	}
	if out := b.run("backups", "diff", second.ID, second.ID); !strings.Contains(out, "same") {
		t.Errorf("a backup differs from itself:\n%s", out)
	}
	b.env["UNDERSTUDY_BUCKET"] = ""
	b.run("backups", "diff", first.ID, second.ID) // both are in the cache
	b.fails(exit.Usage, "no bucket is set", "backups", "diff", first.ID, salvage.ID)
}

func TestBackupsDiffListsAsMuchAsIsWanted(t *testing.T) {
	a := newTestHosts(t, "host-a")[0]
	a.run("init")
	a.serve()
	first := ask[backup.Ref](a, "backup")
	for i := range 30 {
		a.write(filepath.Join("app", "new", string(rune('a'+i))), "x")
	}
	a.write("app/odd\nname", "x")
	a.run("backup")
	out := a.run("backups", "diff", first.ID, "latest")
	if !strings.Contains(out, "… and 12 more; list them with --all") || strings.Contains(out, "odd") {
		t.Errorf("%s", out)
	}
	out = a.run("backups", "diff", first.ID, "latest", "--all")
	if strings.Contains(out, "more") || !strings.Contains(out, `"odd\nname"`) || !strings.Contains(out, "new/") {
		t.Errorf("with --all: %s", out)
	}
	if d := ask[diffJSON](a, "backups", "diff", first.ID, "latest"); len(d.Sources[0].Changes) != 32 || d.Sources[0].Files.Added.Entries != 32 {
		t.Errorf("%+v", d)
	}
	a.fails(exit.Usage, "see: understudy backups diff --help", "backups", "diff", "latest")
	a.fails(exit.Failed, "no backup has the id", "backups", "diff", "latest", "20200101T000000Z-e00000001-s00000009-abcdef01")
}
