package backup

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // the application's database

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/backup/source/sqlite"
)

// uploads is an application that writes a file, and then the row that points to
// it.
type uploads struct {
	t     *testing.T
	files string
	db    *sql.DB
}

func (u *uploads) add(name string) {
	u.t.Helper()
	err := os.WriteFile(filepath.Join(u.files, name), []byte(name), 0o600)
	if err == nil {
		_, err = u.db.ExecContext(u.t.Context(), "INSERT INTO uploads VALUES (?)", name)
	}
	if err != nil {
		u.t.Fatal(err)
	}
}

// Whatever the order in which they are configured, a database is captured before
// the files that its rows point to; the manifest has the order of the
// configuration.
func TestDatabasesAreCapturedBeforeFiles(t *testing.T) {
	for _, filesFirst := range []bool{true, false} {
		dir := t.TempDir()
		u := &uploads{t: t, files: filepath.Join(dir, "files")}
		if err := os.Mkdir(u.files, 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "app.db")
		db, err := sqlite.New("app", sqlite.Config{Path: path, Scratch: filepath.Join(dir, "scratch")})
		if err != nil {
			t.Fatal(err)
		}
		if u.db, err = sql.Open("sqlite", path); err != nil {
			t.Fatal(err)
		}
		defer u.db.Close()
		if _, err := u.db.ExecContext(t.Context(), "PRAGMA journal_mode=wal; CREATE TABLE uploads (name TEXT)"); err != nil {
			t.Fatal(err)
		}
		files, err := directory.New("files", directory.Config{Path: u.files})
		if err != nil {
			t.Fatal(err)
		}
		sources := []source.Source{db, files}
		if filesFirst {
			sources = []source.Source{files, db}
		}
		u.add("before")
		var captured []string
		w := newWorld(t)
		ref, m := w.write(func(o *Order) {
			o.Sources = sources
			o.Progress = func(p Progress) {
				if kind, _, _ := strings.Cut(p.Step, " "); (kind == "directory" || kind == "sqlite") && p.Done == 0 {
					if len(captured) == 0 || captured[len(captured)-1] != kind {
						captured = append(captured, kind)
						u.add("while " + kind)
					}
				}
			}
		})
		if m.Sources[0].Name != sources[0].Name() || m.Sources[1].Name != sources[1].Name() {
			t.Errorf("the manifest's order is %s, %s", m.Sources[0].Name, m.Sources[1].Name)
		}
		if strings.Join(captured, " ") != "sqlite directory" {
			t.Errorf("captured in the order %v", captured)
		}
		u.check(w, ref, dir)
	}
}

// check restores a backup and looks for the file of each row.
func (u *uploads) check(w *world, ref Ref, dir string) {
	u.t.Helper()
	m, err := w.repo.Load(u.t.Context(), ref)
	if err != nil {
		u.t.Fatal(err)
	}
	r, _, err := w.repo.Open(u.t.Context(), m, w.repo.BucketPacks())
	if err != nil {
		u.t.Fatal(err)
	}
	for _, e := range m.Sources {
		if err := source.Export(u.t.Context(), r, e, filepath.Join(dir, "restored-"+e.Name)); err != nil {
			u.t.Fatal(err)
		}
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "restored-app"))
	if err != nil {
		u.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(u.t.Context(), "SELECT name FROM uploads")
	if err != nil {
		u.t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var name string
		if err := rows.Scan(&name); err != nil {
			u.t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "restored-files", name)); err != nil {
			u.t.Errorf("a row points to a file that is not in the backup: %v", err)
		}
	}
	if err := rows.Err(); err != nil || n == 0 {
		u.t.Errorf("%d rows, %v", n, err)
	}
}
