package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/filestore"
	"github.com/understudy-ha/understudy/blobstore/miniostore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/putback"
	"github.com/understudy-ha/understudy/ha/report"
)

// contents are all objects of a bucket.
func contents(t *testing.T, store blobstore.Store) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for attrs, err := range store.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		data, _, err := blobstore.ReadAll(t.Context(), store, attrs.Key, 1<<30)
		if errors.Is(err, blobstore.ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all[attrs.Key] = data
	}
	return all
}

// putBack makes a bucket hold these objects and no others, as a copy that is
// restored does.
func putBack(t *testing.T, store blobstore.Store, all map[string][]byte) {
	t.Helper()
	for key := range contents(t, store) {
		if _, keep := all[key]; !keep {
			if err := store.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
	}
	for key, data := range all {
		if _, err := store.Put(t.Context(), key, data, blobstore.Always); err != nil {
			t.Fatal(err)
		}
	}
}

// hasProblem waits until a host's status has a problem with these words.
func (h *host) hasProblem(words string) {
	h.t.Helper()
	h.eventually("a problem with "+words, func() error {
		if all := strings.Join(h.status().Problems, "; "); !strings.Contains(all, words) {
			return fmt.Errorf("problems: %s", all)
		}
		return nil
	})
}

// A bucket is put back to a copy: nobody goes on by itself, everybody says so, one
// command leads out, and nothing that a disk or a cache has is lost.
func TestAClusterGoesOnFromACopyOfItsBucket(t *testing.T) {
	for _, p := range providers {
		if p.name != "file" && p.name != "minio" {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			bucket, env := p.open(t)
			for _, variable := range env {
				name, value, _ := strings.Cut(variable, "=")
				t.Setenv(name, value) // this process puts the bucket back
			}
			store, err := blobstore.Mux{"file": filestore.Open, miniostore.Scheme: miniostore.Open}.Open(t.Context(), bucket)
			if err != nil {
				t.Fatal(err)
			}
			c := newCluster(t, bucket, env)
			for _, name := range []string{"host-a", "host-b", "host-c"} {
				c.host(name, hooked{newPlain(t, filepath.Join(c.dir, name+"-app")), idleHooks})
			}
			goOnFromCopy(t, store, c.hosts[0], c.hosts[1], c.hosts[2])
		})
	}
}

func goOnFromCopy(t *testing.T, store blobstore.Store, a, b, gone *host) {
	a.run("init")
	a.serve()
	first := query[backup.Ref](a, "backup")
	for _, h := range []*host{b, gone} {
		h.run("join")
		h.serve()
		h.caches(first.ID)
	}
	copied := contents(t, store)
	if err := os.WriteFile(filepath.Join(a.folder(), "late"), []byte("late"), 0o644); err != nil {
		t.Fatal(err)
	}
	lost := query[backup.Ref](a, "backup")
	b.caches(lost.ID)
	gone.stopAgent()
	putBack(t, store, copied)
	const told = "the head was rolled back"
	for _, h := range []*host{a, b} {
		h.hasProblem(told)
		h.hasProblem("understudy recover-bucket")
	}
	if r := b.try("promote", "--failover", "--yes"); r.code == 0 {
		t.Errorf("promoted from a bucket that was put back: %s", r.out)
	}
	if r := b.try("restore", "latest", "--to", b.path("latest")); r.code != 3 {
		t.Errorf("restore latest: exit %d: %s", r.code, r.out)
	}
	plan := query[putback.RecoveryPlan](b, "recover-bucket", "--dry-run")
	if !plan.Needed || !slices.Contains(plan.Cached, lost.ID) || plan.Newest != lost.ID || plan.Active != a.name || !strings.Contains(plan.Refused, "--without host-c") {
		t.Errorf("plan %+v", plan)
	}
	if r := b.try("recover-bucket", "--yes"); r.code != 3 {
		t.Errorf("recovered without a word for the host that is down: exit %d: %s", r.code, r.out)
	}
	if r := b.try("recover-bucket", "--without", gone.name); r.code != 2 {
		t.Errorf("recovered unasked: exit %d: %s", r.code, r.out)
	}
	b.run("recover-bucket", "--without", gone.name, "--yes", "--reason", "a copy was restored")
	a.eventually("the active goes on", func() error {
		if s := a.status(); !s.Leading || s.Epoch != 2 || s.LastBackup == nil || s.LastBackup.Epoch != 2 {
			return fmt.Errorf("%+v", s.Status)
		}
		return nil
	})
	newest := query[backup.Ref](a, "backup")
	b.caches(newest.ID)
	gone.serve() // who was not asked follows
	gone.caches(newest.ID)
	for _, id := range []string{first.ID, lost.ID, newest.ID} {
		if r := b.try("verify", id, "--deep"); r.code != 0 {
			t.Errorf("verify %s: %s", id, r.out)
		}
	}
	found := slices.ContainsFunc(query[[]control.ClusterEvent](gone, "events", "--cluster"), func(e control.ClusterEvent) bool {
		return e.Kind == "recovery" && e.Reason == "a copy was restored" && e.By != "" && strings.Contains(e.Text, gone.name)
	})
	if !found {
		t.Error("the history does not tell of it")
	}
	gone.run("promote", "--yes")
	gone.is(report.StateActive)
	if text, err := os.ReadFile(filepath.Join(gone.folder(), "late")); err != nil || string(text) != "late" {
		t.Errorf("after the promotion: %q, %v", text, err)
	}
	if s := gone.status(); s.Role != ha.RoleActive {
		t.Errorf("%+v", s)
	}
}
