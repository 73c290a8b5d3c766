package directory

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// An application writes a file, then the row that points to it. Each row of a
// database in the backup of a directory finds its file, wherever in the tree the
// two lie, in the first backup too.
func TestEachRowOfADatabaseInADirectoryFindsItsFile(t *testing.T) {
	root := filepath.Join(t.TempDir(), "live")
	for _, folder := range []string{"attachments", "later"} {
		sourcetest.Must(t, os.MkdirAll(filepath.Join(root, folder), 0o755))
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(root, "db.sqlite3")+"?_pragma=journal_mode(wal)")
	sourcetest.Must(t, err)
	t.Cleanup(func() { sourcetest.Must(t, db.Close()) })
	_, err = db.Exec("CREATE TABLE files (name TEXT)")
	sourcetest.Must(t, err)
	n := 0
	write := func() {
		n++
		name := fmt.Sprint("file-", n)
		sourcetest.Must(t, os.WriteFile(filepath.Join(root, "attachments", name), []byte(name), 0o600))
		_, err := db.Exec("INSERT INTO files VALUES (?)", name)
		sourcetest.Must(t, err)
	}
	d, v := newTestDirectory(t, root), sourcetest.NewVault(t)
	d.fault = func(step, path string) error {
		if step == "list" && path == "later" { // the attachments have been listed, and the database has not been met
			write()
		}
		return nil
	}
	for range 3 {
		write()
		before := n
		v.Backup(t, d)
		if n != before+1 {
			t.Fatalf("%d files were written during the backup", n-before)
		}
		if rows := rowsWithFiles(t, v); rows < before {
			t.Errorf("%d rows in the backup, and %d were written before it", rows, before)
		}
	}
}

// rowsWithFiles exports the last backup, checks that each row's file is there,
// and counts the rows.
func rowsWithFiles(t *testing.T, v *sourcetest.Vault) (n int) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "out")
	sourcetest.Must(t, source.Export(t.Context(), v.Reader(), v.Prev.Entry, to))
	db, err := sql.Open("sqlite", "file:"+filepath.Join(to, "db.sqlite3"))
	sourcetest.Must(t, err)
	defer db.Close()
	rows, err := db.Query("SELECT name FROM files")
	sourcetest.Must(t, err)
	defer rows.Close()
	for ; rows.Next(); n++ {
		var name string
		sourcetest.Must(t, rows.Scan(&name))
		if text := sourcetest.ReadText(t, filepath.Join(to, "attachments", name)); text != name {
			t.Errorf("the row %s points to a file that holds %q", name, text)
		}
	}
	sourcetest.Must(t, rows.Err())
	return n
}
