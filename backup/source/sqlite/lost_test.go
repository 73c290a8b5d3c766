package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// An application that finds no database makes an empty one.
func TestADatabaseThatBecameEmptyIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bank.db")
	sourcetest.Must(t, sourcetest.NewBank(t, path, "wal", 3).Close())
	src, v := newSQLite(t, path), sourcetest.NewVault(t)
	full, _ := v.Backup(t, src)
	again, _ := v.Backup(t, src)
	if text := source.Lost(full, again); text != "" {
		t.Errorf("nothing has changed: %q", text)
	}
	sourcetest.Must(t, errors.Join(os.Remove(path), os.RemoveAll(path+"-wal"), os.RemoveAll(path+"-shm")))
	if _, _, err := v.TryBackup(t.Context(), src); err == nil {
		t.Error("a database that is gone was dumped")
	}
	db := sourcetest.OpenBank(t, path, "wal")
	_, err := db.Exec("PRAGMA user_version = 1")
	sourcetest.Must(t, err)
	sourcetest.Must(t, db.Close())
	empty, _ := v.Backup(t, src)
	if text := source.Lost(full, empty); !strings.Contains(text, "had tables (16 KiB), has none") {
		t.Errorf("told %q", text)
	}
	if text := source.Lost(empty, full) + source.Lost(empty, empty); text != "" {
		t.Errorf("it was empty before: %q", text)
	}
	// Read through SQLite, it says the same.
	db = sourcetest.OpenBank(t, path, "wal")
	defer db.Close()
	_, err = db.Exec("PRAGMA user_version = 2")
	sourcetest.Must(t, err)
	if inUse, _ := v.Backup(t, src); source.Lost(full, inUse) == "" {
		t.Errorf("while it is in use nothing is told of %s", inUse.Facts)
	}
}

func TestADatabaseFileTellsWhetherItHasChangedSinceABackup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bank.db")
	db := sourcetest.NewBank(t, path, "wal", 10)
	s := newSQLite(t, path)
	e, _ := sourcetest.NewVault(t).Backup(t, s)
	if got := sourcetest.Lacks(t, s, e); got != "" {
		t.Errorf("unchanged: %q", got)
	}
	sourcetest.Must(t, sourcetest.Transfer(db, 1, 2))
	if got := sourcetest.Lacks(t, s, e); got != "later commits" {
		t.Errorf("after a commit: %q", got)
	}
}
