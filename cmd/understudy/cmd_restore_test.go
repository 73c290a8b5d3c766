package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/cmd/understudy/backups"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/control"
)

func TestRestoreAndVerifyNeedNoAgent(t *testing.T) {
	hosts := newTestHosts(t, "host-a", "host-b")
	a, b := hosts[0], hosts[1]
	a.run("init")
	a.serve()
	a.run("backup")
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
	restored(a, backups.FromBucket, ref.ID)
	restored(a, backups.FromBucket, "latest")
	restored(b, backups.FromCache, "latest")
	for _, args := range [][]string{{}, {"--deep"}, {ref.ID, "--deep"}} {
		if v := ask[verifiedJSON](a, append([]string{"verify"}, args...)...); !v.OK || v.In != backups.FromBucket {
			t.Errorf("verify %v: %+v", args, v)
		}
	}
	for _, name := range []string{ref.ID[:len(ref.ID)-2], "latest~0"} {
		restored(a, backups.FromBucket, name)
		restored(b, backups.FromCache, name)
		ask[verifiedJSON](a, "verify", name)
		ask[verifiedJSON](b, "verify", "--cached", name)
		ask[control.BackupInfo](a, "backups", "show", name)
	}
	a.fails(exit.Failed, "the chain that the newest backup ends has", "verify", "latest~9")
	b.fails(exit.Failed, "there is no latest~9", "restore", "latest~9", "--to", filepath.Join(t.TempDir(), "new"))
	if v := ask[verifiedJSON](a, "verify", "latest~1"); v.Backup.Sequence >= ref.Sequence {
		t.Errorf("the one before %s: %+v", ref.ID, v)
	}
	if v := ask[verifiedJSON](b, "verify", "--cached", "--deep"); v.In != backups.FromCache {
		t.Errorf("verify --cached: %+v", v)
	}
	if list := ask[[]control.BackupInfo](a, "backups"); len(list) == 0 || list[0].ID != ref.ID {
		t.Errorf("backups: %+v", list)
	}
	a.fails(exit.Failed, "no backup", "restore", "nope", "--to", filepath.Join(t.TempDir(), "new"))
	a.fails(exit.Failed, "not empty", "restore", "latest", "--to", a.dir)
	a.fails(exit.Usage, "--to", "restore", "latest")

	delete(b.env, "UNDERSTUDY_BUCKET")
	restored(b, backups.FromCache, "latest")
	restored(b, backups.FromCache, ref.ID)
	restored(b, backups.FromCache, ref.ID[:12])
	delete(a.env, "UNDERSTUDY_BUCKET")
	for _, name := range []string{ref.ID, ref.ID[:12], "latest", "latest~1"} {
		a.fails(exit.Usage, "no bucket is set", "restore", name, "--to", t.TempDir())
	}
	empty := map[string]string{"UNDERSTUDY_DATA_DIR": filepath.Join(t.TempDir(), "none")}
	if _, stderr, code := understudy(t, empty, "restore", "latest", "--to", t.TempDir()); code != exit.Usage {
		t.Errorf("nothing to restore from: exit %d: %s", code, stderr)
	}
	if _, err := os.Stat(empty["UNDERSTUDY_DATA_DIR"]); err == nil {
		t.Error("a restore made a data folder")
	}
}

// Somebody with the bucket's credentials overwrites and deletes all that is
// there; the bucket keeps versions.
func TestRestoreAsOfATimeBeforeTheBucketWasSpoilt(t *testing.T) {
	h, m := ruledHost(t)
	m.Versioned = true
	h.run("init")
	h.serve()
	var refs []backup.Ref
	var times []time.Time
	for _, content := range []string{"first", "second"} {
		h.write("app/file", content)
		refs = append(refs, ask[backup.Ref](h, "backup"))
		times = append(times, time.Now())
	}
	h.stop()
	spoilt := time.Now()
	for i, key := range m.Keys() {
		var err error
		if i%2 == 0 {
			err = m.Delete(t.Context(), key)
		} else {
			_, err = m.Put(t.Context(), key, []byte("{}"), blobstore.Always)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	h.fails(exit.Bucket, "", "restore", "latest", "--to", h.path("nothing"))
	for i, want := range []string{"first", "second"} {
		for _, args := range [][]string{{"latest", "--as-of", times[i].Format(time.RFC3339Nano)}, {refs[i].ID, "--as-of", spoilt.Format(time.RFC3339Nano)}} {
			to := filepath.Join(t.TempDir(), "new")
			r := ask[restoredJSON](h, append([]string{"restore", "--to", to}, args...)...)
			content, err := os.ReadFile(filepath.Join(to, "files", "file"))
			if err != nil || string(content) != want || r.From != backups.FromBucket || r.Backup != refs[i] || r.AsOf == nil {
				t.Errorf("restore %q: %+v: %q, %v", args, r, content, err)
			}
		}
	}
	h.fails(exit.Usage, "no time like", "restore", "latest", "--to", h.path("nothing"), "--as-of", "yesterday")
	h.fails(exit.Bucket, "no cluster", "restore", "latest", "--to", h.path("nothing"), "--as-of", "2020-01-01")
	m.Versioned = false
	h.fails(exit.Bucket, "keeps no earlier versions", "restore", "latest", "--to", h.path("nothing"), "--as-of", "2020-01-01")
}

// An earlier version that is right is good enough to restore, and no proof of a
// good backup.
func TestVerifyFailsWhereRestoreReadsAnEarlierVersion(t *testing.T) {
	h, m := ruledHost(t)
	m.Versioned = true
	h.run("init")
	h.serve()
	ref := ask[backup.Ref](h, "backup")
	h.stop()
	h.run("verify", ref.ID, "--deep")
	for _, prefix := range []string{"packs/", "backups/"} {
		var keys []string
		for _, key := range m.Keys() {
			if !strings.HasPrefix(key, prefix) {
				continue
			}
			keys = append(keys, key)
			if _, err := m.Put(t.Context(), key, []byte("spoilt"), blobstore.Always); err != nil {
				t.Fatal(err)
			}
		}
		to := filepath.Join(t.TempDir(), "new")
		_, stderr, code := understudy(t, h.env, "restore", ref.ID, "--to", to)
		told := func(key string) bool { return strings.Contains(stderr, key+" is damaged in the bucket") }
		if code != exit.Done || !slices.ContainsFunc(keys, told) {
			t.Errorf("restore with spoilt %s: exit %d: %s", prefix, code, stderr)
		}
		h.fails(exit.Failed, "", "verify", ref.ID, "--deep")
	}
}
