package source

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/e2e/server"
)

func TestADirectoryThatLostHalfOfItsFilesIsTold(t *testing.T) {
	for _, tt := range []struct {
		before, after int
		told          bool
	}{{100, 50, false}, {100, 49, true}, {100, 0, true}, {99, 0, false}, {0, 100, false}} {
		dir := t.TempDir()
		d, v := newTestDirectory(t, dir), newVault(t)
		for i := range tt.before {
			do(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte("x"), 0o644))
		}
		was, _ := v.mustBackup(d)
		for i := range tt.before {
			if i >= tt.after {
				do(t, os.Remove(filepath.Join(dir, fmt.Sprint(i))))
			}
		}
		is, _ := v.mustBackup(d)
		text := Lost(was, is)
		if (text != "") != tt.told {
			t.Errorf("%d, then %d: %q", tt.before, tt.after, text)
		}
		if tt.told && (!strings.Contains(text, fmt.Sprintf("had %d files", tt.before)) || !strings.Contains(text, fmt.Sprintf("has %d", tt.after))) {
			t.Errorf("%d, then %d: %q", tt.before, tt.after, text)
		}
		if n, err := Holds(t.Context(), d); err != nil || n != Held(is) && tt.before > 0 {
			t.Errorf("it holds %q (%v), the backup %q", n, err, Held(is))
		}
	}
}

// An application that finds no database makes an empty one.
func TestADatabaseThatBecameEmptyIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bank.db")
	must(t, newBank(t, path, "wal", 3).Close())
	src, v := newSQLite(t, path), newVault(t)
	full, _ := v.mustBackup(src)
	again, _ := v.mustBackup(src)
	if text := Lost(full, again); text != "" {
		t.Errorf("nothing has changed: %q", text)
	}
	must(t, removeFiles(path, path+"-wal", path+"-shm"))
	if _, _, err := v.backup(src); err == nil {
		t.Error("a database that is gone was dumped")
	}
	db := openBank(t, path, "wal")
	_, err := db.Exec("PRAGMA user_version = 1")
	must(t, err)
	must(t, db.Close())
	empty, _ := v.mustBackup(src)
	if text := Lost(full, empty); !strings.Contains(text, "had tables (16 KiB), has none") {
		t.Errorf("told %q", text)
	}
	if text := Lost(empty, full) + Lost(empty, empty); text != "" {
		t.Errorf("it was empty before: %q", text)
	}
	// Read through SQLite, it says the same.
	db = openBank(t, path, "wal")
	defer db.Close()
	_, err = db.Exec("PRAGMA user_version = 2")
	must(t, err)
	if inUse, _ := v.mustBackup(src); Lost(full, inUse) == "" {
		t.Errorf("while it is in use nothing is told of %s", inUse.Facts)
	}
}

func TestAPostgresDatabaseThatBecameEmptyIsTold(t *testing.T) {
	srv := server.Postgres(t)
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE app")
	sqlIn(t, srv.DSN("app"), "CREATE TABLE t (i int primary key)", "INSERT INTO t VALUES (1)")
	src, v := newPostgresAt(t, srv, "app"), newVault(t)
	full, _ := v.mustBackup(src)
	sqlIn(t, srv.DSN("app"), "DROP TABLE t")
	empty, _ := v.mustBackup(src)
	if text := Lost(full, empty); text != "had 1 tables, has none" || Lost(empty, full) != "" || Lost(full, full) != "" {
		t.Errorf("told %q", text)
	}
}

func TestOutputAndMetricsThatBecameEmptyAreTold(t *testing.T) {
	facts := func(samples uint64) json.RawMessage {
		raw, err := json.Marshal(PrometheusFacts{Samples: samples})
		must(t, err)
		return raw
	}
	for kind, pair := range map[string][2]Entry{
		"command":    {{Size: 10}, {Size: 0}},
		"prometheus": {{Facts: facts(7)}, {Facts: facts(0)}},
	} {
		was, is := pair[0], pair[1]
		was.Kind, is.Kind = kind, kind
		if Lost(was, is) == "" || Lost(is, was) != "" || Lost(was, was) != "" {
			t.Errorf("%s: %q, %q", kind, Lost(was, is), Lost(is, was))
		}
	}
	if text := Lost(Entry{}, Entry{Kind: "command"}); text != "" {
		t.Errorf("a first backup: %q", text)
	}
}
