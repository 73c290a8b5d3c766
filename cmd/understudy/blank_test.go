package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/cmd/understudy/doctor"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/report"
)

// A host on which the application never ran lacks all that is backed up, and
// the folders above it.
func TestABlankHostTakesOver(t *testing.T) {
	hosts := newTestHosts(t, "host-a", "host-b")
	a, b := hosts[0], hosts[1]
	for _, h := range hosts {
		h.write("understudy.yaml", "application: {version: \"1\"}\nsources:\n  - {name: files, directory: {path: "+h.path("srv/app/files")+"}}\n"+idleHooks)
	}
	a.write("srv/app/files/file", "content")
	a.run("init")
	a.serve()
	ref := ask[backup.Ref](a, "backup")
	if joined := ask[memberJSON](b, "join"); len(joined.Blockers) > 0 {
		t.Errorf("join: %+v", joined)
	}
	b.serve()
	b.caches(ref.ID)
	if found := ask[[]doctor.Finding](b, "doctor"); slices.ContainsFunc(found, func(f doctor.Finding) bool { return f.Name == "source files" && f.Result != doctor.Good }) {
		t.Errorf("doctor: %+v", found)
	}
	b.run("promote", "--yes")
	if data, err := os.ReadFile(b.path("srv/app/files/file")); string(data) != "content" {
		t.Errorf("restored: %q: %v", data, err)
	}
}

// One that cannot be promoted says so from join on, everywhere the same.
func TestWhatKeepsABlankHostFromTakingOverIsSaid(t *testing.T) {
	hosts := newTestHosts(t, "host-a", "host-b")
	a, b := hosts[0], hosts[1]
	if err := os.RemoveAll(b.path("app")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(b.path("volume/app"), b.path("app")); err != nil {
		t.Fatal(err)
	}
	const why = "mount or create it"
	a.run("init")
	a.serve()
	ref := ask[backup.Ref](a, "backup")
	if out := b.run("join"); !strings.Contains(out, "cannot take over yet") || !strings.Contains(out, why) {
		t.Errorf("join: %s", out)
	}
	b.serve()
	b.caches(ref.ID)
	b.until("says why", func() bool {
		s := ask[report.Status](b, "status")
		return len(s.Blockers) > 0 && strings.Contains(s.Blockers[0], why)
	})
	out, _, code := understudy(t, b.env, "doctor")
	if code != exit.Host || !strings.Contains(out, why) {
		t.Errorf("doctor: exit %d: %s", code, out)
	}
	b.fails(exit.Refused, why, "promote", "--yes")
}

// TestComposeStandbysArePromotable has the file's own configuration on hosts
// whose volumes are as new as those of docker-compose.yml.
func TestComposeStandbysArePromotable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("packaging", "sample.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	hosts := newTestHosts(t, "host-a", "host-b")
	a, b := hosts[0], hosts[1]
	for _, h := range hosts {
		h.write("bin/sample", "#!/bin/sh\n")
		if err := os.Chmod(h.path("bin/sample"), 0o700); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", h.path("bin")+":"+os.Getenv("PATH"))
		h.write("understudy.yaml", strings.ReplaceAll(string(text), "/srv/sample", h.path("srv/sample")))
		if err := os.MkdirAll(h.path("srv/sample"), 0o755); err != nil { // the volume
			t.Fatal(err)
		}
	}
	for name, service := range composeProject(t).Services {
		for _, v := range service.Volumes {
			if strings.HasPrefix(name, "host-") && strings.HasPrefix(v.Source, "app-") && v.Target != "/srv/sample" {
				t.Errorf("%s has its volume at %s", name, v.Target)
			}
		}
	}
	a.write("srv/sample/uploads/file", "content")
	a.run("init")
	makeDatabase(t, a.path("srv/sample/sample.db"))
	a.serve()
	ref := ask[backup.Ref](a, "backup")
	b.run("join")
	b.serve()
	b.caches(ref.ID)
	b.run("promote", "--yes")
	if data, err := os.ReadFile(b.path("srv/sample/uploads/file")); string(data) != "content" {
		t.Errorf("restored: %q: %v", data, err)
	}
	if _, err := os.Stat(b.path("srv/sample/sample.db")); err != nil {
		t.Error(err)
	}
}

func makeDatabase(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE entries (x); INSERT INTO entries VALUES (1)"); err != nil {
		t.Fatal(err)
	}
}
