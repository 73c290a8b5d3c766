package restore

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/command"
	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/backup/source/file"
	"github.com/understudy-ha/understudy/backup/source/sqlite"
)

// app is a small application's state: a folder with one file in it, and a
// database with one row in it; or a file, and what a command prints.
type app struct {
	dir string
	db  string

	single, printed, scratch string
}

func newApp(t *testing.T) app {
	t.Helper()
	root := t.TempDir()
	a := app{dir: filepath.Join(root, "uploads"), db: filepath.Join(root, "prefs.db")}
	if err := os.Mkdir(a.dir, 0o750); err != nil {
		t.Fatal(err)
	}
	a.sources(t) // sets how this process locks databases, before it opens one
	return a
}

// set replaces the state.
func (a app) set(t *testing.T, value string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, "file"), []byte(value), 0o640); err != nil {
		t.Fatal(err)
	}
	a.sql(t, func(db *sql.DB) error {
		_, err := db.ExecContext(t.Context(), `CREATE TABLE IF NOT EXISTS t (v TEXT); DELETE FROM t; INSERT INTO t VALUES (?)`, value)
		return err
	})
}

func (a app) sql(t *testing.T, do func(*sql.DB) error) {
	t.Helper()
	db, err := sql.Open("sqlite", a.db)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(do(db), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// mustBe compares the state.
func (a app) mustBe(t *testing.T, want string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(a.dir, "file"))
	if err != nil || string(got) != want {
		t.Errorf("the file holds %q, %v; want %q", got, err, want)
	}
	var row string
	a.sql(t, func(db *sql.DB) error { return db.QueryRowContext(t.Context(), `SELECT v FROM t`).Scan(&row) })
	if row != want {
		t.Errorf("the database holds %q, want %q", row, want)
	}
}

func (a app) sources(t *testing.T) []source.Source {
	t.Helper()
	if a.single != "" {
		return a.singles(t)
	}
	uploads, err := directory.New("uploads", directory.Config{Path: a.dir})
	if err != nil {
		t.Fatal(err)
	}
	prefs, err := sqlite.New("prefs", sqlite.Config{Path: a.db, Scratch: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return []source.Source{uploads, prefs}
}

func (a app) singles(t *testing.T) []source.Source {
	t.Helper()
	file, err := file.New("file", file.Config{Path: a.single})
	if err != nil {
		t.Fatal(err)
	}
	command, err := command.New("command", command.Config{
		Dump: []string{"cat", a.printed}, Restore: []string{"sh", "-c", "cat > " + a.printed}, Scratch: a.scratch,
	})
	if err != nil {
		t.Fatal(err)
	}
	return []source.Source{file, command}
}

// writeApp backs the application up.
func (c *cluster) writeApp(t *testing.T, a app) backup.Ref {
	t.Helper()
	ref, _, err := c.repo.Write(t.Context(), backup.Order{
		Epoch: 1, Sequence: 1, Trigger: backup.First, Instance: "a", Version: "test",
		Keys: c.keys, Sources: a.sources(t), Now: func() time.Time { return c.now }, Random: c.random,
	})
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestAnApplicationMovesFromOneHostToAnother(t *testing.T) {
	cl := newCluster(t)
	active, standby := newApp(t), newApp(t)
	active.set(t, "new")
	standby.set(t, "old")
	ref := cl.writeApp(t, active)

	cache := openCache(t, t.TempDir(), 10)
	if err := cache.Pull(t.Context(), cl.repo, ref, nil); err != nil {
		t.Fatal(err)
	}
	_, m, err := cache.Manifest(cl.repo, ref.ID)
	if err != nil {
		t.Fatal(err)
	}
	reader, _, err := cl.repo.Open(t.Context(), m, cache)
	if err != nil {
		t.Fatal(err)
	}
	journal := t.TempDir()
	swapper := func() *Swapper {
		s, err := NewSwapper(journal, standby.sources(t))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	swept := func(s *Swapper) error {
		left, err := s.Sweep(t.Context())
		if len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		return err
	}
	before := tree(t, filepath.Dir(standby.dir))
	steps := []struct {
		name string
		do   func(s *Swapper) error
		want string
	}{
		{"stage", func(s *Swapper) error { return s.Stage(t.Context(), reader, m, nil) }, "old"},
		{"swap", func(s *Swapper) error { return s.Swap(t.Context()) }, "new"},
		{"roll back", func(s *Swapper) error { return s.Rollback(t.Context()) }, "old"},
		{"sweep", swept, "old"},
		{"stage again", func(s *Swapper) error { return s.Stage(t.Context(), reader, m, nil) }, "old"},
		{"swap again", func(s *Swapper) error { return s.Swap(t.Context()) }, "new"},
		{"finish", func(s *Swapper) error { return s.Finish(t.Context()) }, "new"},
		{"sweep at the end", swept, "new"},
	}
	for _, step := range steps {
		if err := step.do(swapper()); err != nil { // each in a new process
			t.Fatalf("%s: %v", step.name, err)
		}
		standby.mustBe(t, step.want)
	}
	if after := tree(t, filepath.Dir(standby.dir)); len(after) != len(before) {
		t.Errorf("left behind: %v, before it was %v", after, before)
	}

	to := filepath.Join(t.TempDir(), "export")
	if err := Export(t.Context(), reader, m, to, nil); err != nil {
		t.Fatal(err)
	}
	app{dir: filepath.Join(to, "uploads"), db: filepath.Join(to, "prefs")}.mustBe(t, "new")
}
