package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
	must(t, errors.Join(os.Remove(path), os.RemoveAll(path+"-wal"), os.RemoveAll(path+"-shm")))
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

func TestADatabaseFileTellsWhetherItHasChangedSinceABackup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bank.db")
	db := newBank(t, path, "wal", 10)
	s := newSQLite(t, path)
	e, _ := newVault(t).mustBackup(s)
	if got := lacks(t, s, e); got != "" {
		t.Errorf("unchanged: %q", got)
	}
	must(t, transfer(db, 1, 2))
	if got := lacks(t, s, e); got != "later commits" {
		t.Errorf("after a commit: %q", got)
	}
}
