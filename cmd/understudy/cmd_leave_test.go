package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // a database/sql driver
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha/report"
)

// secretText is in every source of the active.
const secretText = "what-nobody-else-may-read"

// secretHosts are an active whose sources all hold the secret, and a standby that
// has staged it.
func secretHosts(t *testing.T) (a, b *testHost) {
	t.Helper()
	srv := server.Postgres(t)
	hosts := newTestHosts(t, "host-a", "host-b")
	for _, h := range hosts {
		for _, dir := range []string{"files", "etc", "db", "queue"} {
			if err := os.MkdirAll(h.path("srv/"+dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		database := "leave_" + h.dir[len(h.dir)-1:]
		runSQL(t, "pgx", srv.DSN("postgres"), "CREATE DATABASE "+database)
		h.write("srv/queue/state", "nothing of note")
		h.write("understudy.yaml", fmt.Sprintf(`application: {version: "1"}
sources:
  - {name: files, directory: {path: %[1]s/files}}
  - {name: settings, file: {path: %[1]s/etc/app.conf}}
  - {name: db, sqlite: {path: %[1]s/db/app.db}}
  - {name: queue, command: {dump: [cat, %[1]s/queue/state], restore: [dd, status=none, of=%[1]s/queue/state]}}
  - {name: orders, postgres: {url: %[2]q}}
`, h.path("srv"), srv.DSN(database)))
	}
	a, b = hosts[0], hosts[1]
	a.run("init")
	a.write("srv/files/deep/down/file", secretText)
	a.write("srv/etc/app.conf", secretText)
	a.write("srv/queue/state", secretText)
	runSQL(t, "sqlite", a.path("srv/db/app.db"), "CREATE TABLE t (v)", "INSERT INTO t VALUES ('"+secretText+"')")
	runSQL(t, "pgx", srv.DSN("leave_a"), "CREATE TABLE t (v text)", "INSERT INTO t VALUES ('"+secretText+"')")
	a.serve()
	ref := ask[backup.Ref](a, "backup")
	b.run("join")
	b.serve()
	b.until("has staged it", func() bool { return ask[report.Status](b, "status").Staged == ref.ID })
	return a, b
}

func runSQL(t *testing.T, driver, dsn string, statements ...string) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// secrets are the files of a host that hold the secret, in content or in name.
func (h *testHost) secrets() (found []string) {
	h.t.Helper()
	err := filepath.WalkDir(h.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(secretText)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return found
}

// copies are what lies beside the sources, and the databases beside the standby's.
func (h *testHost) copies() []string {
	h.t.Helper()
	found, err := filepath.Glob(h.path("srv/*/.*understudy*"))
	beside, besideErr := filepath.Glob(h.path("srv/.*understudy*"))
	if err != nil || besideErr != nil {
		h.t.Fatal(err, besideErr)
	}
	return append(found, beside...)
}

// TestWhoLeavesKeepsNoCopy has a standby of every kind of source leave: no file of
// it holds any more what was staged, and no database beside its own is left.
func TestWhoLeavesKeepsNoCopy(t *testing.T) {
	_, b := secretHosts(t)
	if found := b.secrets(); len(found) < 4 {
		t.Fatalf("before it leaves, only these hold the secret: %v", found)
	}
	b.fails(exit.Refused, "stop it first", "leave")
	b.stop()
	if left := ask[leftJSON](b, "leave"); !left.Left || len(left.Leftovers) > 0 {
		t.Errorf("leave: %+v", left)
	}
	if found := append(b.secrets(), b.copies()...); len(found) > 0 {
		t.Errorf("left behind: %v", found)
	}
	if names := b.databases(); len(names) > 0 {
		t.Errorf("databases left behind: %v", names)
	}
	b.fails(exit.Refused, "join", "leave") // it has left
	b.run("join")
}

func (h *testHost) databases() (names []string) {
	h.t.Helper()
	text, err := os.ReadFile(h.path("understudy.yaml"))
	if err != nil {
		h.t.Fatal(err)
	}
	_, dsn, _ := strings.Cut(string(text), "url: \"")
	dsn, _, _ = strings.Cut(dsn, "\"")
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		h.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(h.t.Context(), `SELECT datname FROM pg_database WHERE datname LIKE '%understudy%'`)
	if err != nil {
		h.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			h.t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		h.t.Fatal(err)
	}
	return names
}

// What cannot be deleted is named, and can be tried again.
func TestWhoLeavesNamesWhatCannotBeDeleted(t *testing.T) {
	hosts := newTestHosts(t, "host-a", "host-b")
	a, b := hosts[0], hosts[1]
	a.run("init")
	a.serve()
	ref := ask[backup.Ref](a, "backup")
	b.run("join")
	b.serve()
	b.until("has staged it", func() bool { return ask[report.Status](b, "status").Staged == ref.ID })
	b.stop()
	held := b.path(".app.understudy-staged/file")
	if err := setFlags(held, 0x10); err != nil {
		t.Fatalf("make a file immutable (the tests run as root, on a file system with inode flags): %v", err)
	}
	out, stderr, code := understudy(t, b.env, "leave")
	if code != exit.Failed || !strings.Contains(out, "Not deleted: ") || !strings.Contains(out, ".app.understudy-dropped-1") || !strings.Contains(stderr, "understudy leave again") {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
	if err := setFlags(b.path(".app.understudy-dropped-1/file"), 0); err != nil {
		t.Fatal(err)
	}
	b.run("leave")
	if left := b.copies(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}

	// A source that is configured no more cannot be looked at.
	b.run("join")
	b.serve()
	b.until("has staged it", func() bool { return ask[report.Status](b, "status").Staged != "" })
	b.stop()
	b.write("other/file", "of another source")
	b.write("understudy.yaml", "application: {version: \"1\"}\nsources:\n  - {name: other, directory: {path: "+b.path("other")+"}}\n")
	b.fails(exit.Failed, "could not be deleted", "leave")
}

func setFlags(path string, flags int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags)
}
