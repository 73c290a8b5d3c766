package directory

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/backup/source/sqlite"
)

// newTree makes a directory with a bank in it, beside a file, a folder deeper.
// The bank stays open: a part of it is in the WAL alone.
func newTree(t *testing.T, journal string) (root string, db *sql.DB) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "live")
	sourcetest.Must(t, os.MkdirAll(filepath.Join(root, "deep"), 0o755))
	sourcetest.Must(t, os.WriteFile(filepath.Join(root, "key.pem"), []byte("key"), 0o600))
	return root, sourcetest.NewBank(t, filepath.Join(root, "deep", "data.db"), journal, 4000)
}

// checkTree exports the last backup, and returns the number of transfers in the
// bank.
func checkTree(t *testing.T, v *sourcetest.Vault) int {
	t.Helper()
	to := filepath.Join(t.TempDir(), "out")
	sourcetest.Must(t, source.Export(t.Context(), v.Reader(), v.Prev.Entry, to))
	for _, side := range sqlitefile.Sides {
		if there, _ := fsx.Exists(filepath.Join(to, "deep", "data.db"+side)); there {
			t.Errorf("the restored database has a %s beside it", side)
		}
	}
	if text := sourcetest.ReadText(t, filepath.Join(to, "key.pem")); text != "key" {
		t.Errorf("the file beside the database holds %q", text)
	}
	return sourcetest.CheckBank(t, filepath.Join(to, "deep", "data.db"))
}

func TestDirectoryTakesDatabasesAsTheyStand(t *testing.T) {
	for _, journal := range []string{"wal", "delete", "truncate", "persist", "memory"} {
		t.Run(journal, func(t *testing.T) {
			root, db := newTree(t, journal)
			d, v := newTestDirectory(t, root), sourcetest.NewVault(t)
			e, _ := v.Backup(t, d)
			if n := checkTree(t, v); n != 4000 {
				t.Errorf("%d transfers", n)
			}
			if len(e.Warnings)+len(e.Torn) > 0 || factsOf(t, e).Databases != 1 {
				t.Errorf("warnings %q, facts %+v", e.Warnings, factsOf(t, e))
			}
			reads := counted(d)
			for range 2 {
				again, stats := v.Backup(t, d)
				if stats.New != 0 || !again.Root.Equal(e.Root) || !again.Extra.Equal(*e.Extra) || reads() != 0 {
					t.Errorf("an unchanged database: %d new bytes", stats.New)
				}
			}
			sourcetest.Must(t, sourcetest.Transfer(db, 3, 4))
			_, stats := v.Backup(t, d)
			if n := checkTree(t, v); n != 4001 || stats.New > e.Size/3 {
				t.Errorf("%d transfers, %d new bytes", n, stats.New)
			}
		})
	}
}

// What another process writes all the while is in each backup as it stood at one
// moment, with any page size.
func TestDirectoryTakesADatabaseThatIsWritten(t *testing.T) {
	for _, setup := range []string{"wal", "delete", "wal&_pragma=page_size(1024)", "delete&_pragma=page_size(65536)"} {
		t.Run(setup, func(t *testing.T) {
			journal, _, _ := strings.Cut(setup, "&")
			root := filepath.Join(t.TempDir(), "live")
			sourcetest.Must(t, os.MkdirAll(filepath.Join(root, "deep"), 0o755))
			sourcetest.Must(t, os.WriteFile(filepath.Join(root, "key.pem"), []byte("key"), 0o600))
			path := filepath.Join(root, "deep", "data.db")
			if journal != setup {
				_, size, _ := strings.Cut(setup, "page_size(")
				db, err := sql.Open("sqlite", sqlitefile.URI(path, "_pragma=page_size("+size))
				sourcetest.Must(t, err)
				_, err = db.Exec("VACUUM")
				sourcetest.Must(t, errors.Join(err, db.Close()))
			}
			sourcetest.Must(t, sourcetest.NewBank(t, path, journal, 2000).Close())
			app := sourcetest.StartApplication(t, path, "write")
			d, v := newTestDirectory(t, root), sourcetest.NewVault(t)
			last := 0
			for range 5 {
				e, _ := v.Backup(t, d)
				n := checkTree(t, v)
				if n < last || len(e.Warnings)+len(e.Torn) > 0 {
					t.Errorf("%d transfers after %d, warnings %q", n, last, e.Warnings)
				}
				last = n
			}
			total := 2000 + app.Stop(t)
			v.Backup(t, d)
			if n := checkTree(t, v); n != total {
				t.Errorf("%d transfers of %d after the application stopped", n, total)
			}
		})
	}
}

// A killed application leaves a WAL, or a journal to be rolled back. The backup
// has what SQLite makes of it, and leaves the files as they are.
func TestDirectoryTakesWhatAKilledApplicationLeft(t *testing.T) {
	for name, job := range map[string]string{"wal": "write", "delete": "die"} {
		t.Run(name, func(t *testing.T) {
			root, db := newTree(t, name)
			sourcetest.Must(t, db.Close())
			path := filepath.Join(root, "deep", "data.db")
			app := sourcetest.StartApplication(t, path, job)
			sourcetest.Must(t, app.Cmd.Process.Kill())
			_ = app.Cmd.Wait()
			before, err := sqlite.LookAt(sourcetest.Placed(t, path))
			sourcetest.Must(t, err)
			if !before.Pending || before.Held {
				t.Fatalf("it left nothing: %+v", before)
			}
			d, v := newTestDirectory(t, root), sourcetest.NewVault(t)
			e, _ := v.Backup(t, d)
			n := checkTree(t, v)
			if n < 4000 || job == "die" && n != 4000 || len(e.Warnings) > 0 {
				t.Errorf("%d transfers, %q", n, e.Warnings)
			}
			if after, err := sqlite.LookAt(sourcetest.Placed(t, path)); err != nil || after.Print != before.Print {
				t.Errorf("the backup changed the database (%v)", err)
			}
			again, _ := v.Backup(t, d)
			if !again.Root.Equal(e.Root) {
				t.Error("a second backup differs, so that a handover would seem to lose something")
			}
		})
	}
}

// The folder and the files around a database may not be written to.
func TestDirectoryTakesDatabasesOfAReadOnlyFileSystem(t *testing.T) {
	root, db := newTree(t, "wal")
	sourcetest.Must(t, sourcetest.Transfer(db, 1, 2)) // in the WAL
	path := filepath.Join(root, "deep", "data.db")
	w := newTestWriter(t, sourcetest.NewVault(t))
	before, err := sqlite.LookAt(sourcetest.Placed(t, path))
	sourcetest.Must(t, err)
	got, err := (&sqlite.Storing{W: w, At: sourcetest.Placed(t, path), Scratch: filepath.Join(t.TempDir(), "s")}).Copied(t.Context(), before)
	sourcetest.Must(t, err)
	w.Abort()
	if got.Facts.Size != got.Root.Size || got.Facts.JournalMode != "wal" {
		t.Errorf("%+v", got.Facts)
	}
}

func newTestWriter(t *testing.T, v *sourcetest.Vault) *pack.Writer {
	t.Helper()
	w, err := pack.NewWriter(t.Context(), pack.WriterConfig{Cluster: sourcetest.TestCluster, Keys: v.Keys, Put: v.Put})
	sourcetest.Must(t, err)
	return w
}

// A database that its application keeps locked is waited for once in a backup, and
// the backup says that it has a plain copy.
func TestDirectoryWaitsOnceForALockedDatabase(t *testing.T) {
	root, db := newTree(t, "delete")
	sourcetest.Must(t, db.Close())
	app := sourcetest.StartApplication(t, filepath.Join(root, "deep", "data.db"), "lock")
	d, v := newTestDirectory(t, root), sourcetest.NewVault(t)
	d.wait = time.Millisecond
	d.fault = func(step, path string) error {
		if step == "open" && path == "deep/data.db" && app.Cmd.ProcessState == nil { // the walk has come to it
			app.Stop(t)
		}
		return nil
	}
	e, _ := v.Backup(t, d)
	if len(e.Warnings) == 0 || !strings.Contains(e.Warnings[0], `"deep/data.db" is a plain copy, which may be of no use: the application keeps it locked: database is locked (5)`) {
		t.Errorf("warnings %q", e.Warnings)
	}
}

// A database that is locked is doubtful in each backup as long as it is, and is
// taken once it is not, though nothing has changed.
func TestDirectoryTriesALockedDatabaseAgain(t *testing.T) {
	root, db := newTree(t, "delete")
	sourcetest.Must(t, db.Close())
	app := sourcetest.StartApplication(t, filepath.Join(root, "deep", "data.db"), "lock")
	d, v := newTestDirectory(t, root), sourcetest.NewVault(t)
	d.wait = time.Millisecond
	for range 3 {
		if e, _ := v.Backup(t, d); !slices.Equal(e.Torn, []string{"deep/data.db"}) || len(e.Warnings) != 2 {
			t.Errorf("torn %q, warnings %q", e.Torn, e.Warnings)
		}
	}
	app.Stop(t)
	if e, _ := v.Backup(t, d); len(e.Torn)+len(e.Warnings) != 0 {
		t.Errorf("once it is not locked any more: torn %q, warnings %q", e.Torn, e.Warnings)
	}
	if n := checkTree(t, v); n != 4001 {
		t.Errorf("%d transfers", n)
	}
}

// What only looks like a database is copied as it is, with what is beside it,
// and the backup says so each time.
func TestDirectoryCopiesWhatSQLiteCannotRead(t *testing.T) {
	root := t.TempDir()
	sourcetest.Must(t, os.WriteFile(filepath.Join(root, "secret.db"), []byte(sqlitefile.Magic+strings.Repeat("\x9d\x01cipher", 2000)), 0o600))
	sourcetest.Must(t, os.WriteFile(filepath.Join(root, "secret.db-wal"), []byte("its own"), 0o600))
	sourcetest.Must(t, os.WriteFile(filepath.Join(root, "notes-wal"), []byte("nobody's"), 0o600))
	d, v := newTestDirectory(t, root), sourcetest.NewVault(t)
	for range 2 {
		e, _ := v.Backup(t, d)
		if len(e.Warnings) != 1 || !strings.HasSuffix(e.Warnings[0], `"secret.db" is a plain copy, which may be of no use: SQLite cannot read it: file is not a database (26)`) {
			t.Errorf("warnings %q", e.Warnings)
		}
		want := []string{"d .", "f notes-wal", "f secret.db", "f secret.db-wal"}
		if got := paths(t, v); !slices.Equal(got, want) {
			t.Errorf("the backup has %q, want %q", got, want)
		}
	}
	stageTree(t, v, newTestDirectory(t, filepath.Join(t.TempDir(), "out")))
}

func stageTree(t *testing.T, v *sourcetest.Vault, d *Source) *source.Examination {
	t.Helper()
	x := &source.Examination{}
	sourcetest.Must(t, d.Stage(source.WithExamination(t.Context(), x), v.Reader(), v.Prev.Entry))
	return x
}

func TestDirectoryFollowsItsDatabasePolicy(t *testing.T) {
	root, _ := newTree(t, "wal")
	v := sourcetest.NewVault(t)
	for _, c := range []struct {
		policy DatabasePolicy
		want   int
		sides  bool
	}{
		{DatabasePolicy{Off: true}, 0, true},
		{DatabasePolicy{Patterns: []string{"other/**"}}, 0, true},
		{DatabasePolicy{Patterns: []string{"**/*.db"}}, 1, false},
		{DatabasePolicy{}, 1, false},
		{DatabasePolicy{Off: true}, 0, true},
	} {
		d := newTestDirectory(t, root)
		d.cfg.Databases = c.policy
		e, _ := v.Backup(t, d)
		got := paths(t, v)
		if factsOf(t, e).Databases != int64(c.want) || slices.Contains(got, "f deep/data.db-wal") != c.sides || (e.Extra != nil) != (c.want > 0) {
			t.Errorf("%s: %d databases, files %q", c.policy, factsOf(t, e).Databases, got)
		}
	}
	_, err := New("files", Config{Path: root, Databases: DatabasePolicy{Patterns: []string{"/abs"}}})
	sourcetest.MustFail(t, err, "databases", "is absolute")
}

// A backup by an earlier version has no list of databases. Then each file that
// may be one is looked at again.
func TestDirectoryLooksForDatabasesOnTopOfAnEarlierVersion(t *testing.T) {
	root, _ := newTree(t, "wal")
	d, v := newTestDirectory(t, root), sourcetest.NewVault(t)
	d.cfg.Databases.Off = true
	v.Backup(t, d)
	var facts map[string]any
	sourcetest.Must(t, json.Unmarshal(v.Prev.Entry.Facts, &facts))
	delete(facts, "databases_policy")
	var err error
	v.Prev.Entry.Facts, err = json.Marshal(facts)
	sourcetest.Must(t, err)
	d.cfg.Databases.Off = false
	v.Backup(t, d)
	if n := checkTree(t, v); n != 4000 {
		t.Errorf("%d transfers", n)
	}
}

// A database with two names in the tree is one file with two names again; where
// SQLite keeps something beside the second one, that one is the state.
func TestDirectoryTakesADatabaseWithSeveralNames(t *testing.T) {
	root, db := newTree(t, "delete")
	sourcetest.Must(t, db.Close())
	path := filepath.Join(root, "deep", "data.db")
	second := filepath.Join(root, "other.db")
	sourcetest.Must(t, os.Link(path, second))
	d, v := newTestDirectory(t, root), sourcetest.NewVault(t)
	v.Backup(t, d)
	if got := paths(t, v); !slices.Contains(got, "h other.db") {
		t.Errorf("the names: %q", got)
	}
	app := sourcetest.OpenBank(t, second, "wal")
	sourcetest.Must(t, sourcetest.Transfer(app, 1, 2))
	e, _ := v.Backup(t, d)
	if len(e.Warnings) == 0 || !strings.Contains(e.Warnings[0], "hard links") {
		t.Errorf("warnings %q", e.Warnings)
	}
	to := filepath.Join(t.TempDir(), "out")
	sourcetest.Must(t, source.Export(t.Context(), v.Reader(), e, to))
	if n := sourcetest.CheckBank(t, filepath.Join(to, "other.db")); n != 4001 {
		t.Errorf("%d transfers", n)
	}
}

// A stage with databases is held to SQLite's own check, once for each content,
// and what a reader left beside them is gone when it is brought forward.
func TestDirectoryStagesAndBringsForwardDatabases(t *testing.T) {
	root, db := newTree(t, "wal")
	source, v := newTestDirectory(t, root), sourcetest.NewVault(t)
	from, _ := v.Backup(t, source)
	target := newTestDirectory(t, filepath.Join(t.TempDir(), "out"))
	if x := stageTree(t, v, target); !x.Empty() {
		t.Errorf("found %+v", x.Findings)
	}
	staged := filepath.Join(target.Staged(), "deep", "data.db")
	probe := sourcetest.OpenBank(t, staged, "wal") // a probe that writes, and is killed
	sourcetest.Must(t, sourcetest.Transfer(probe, 1, 2))
	sourcetest.CopyBank(t, staged, staged+".kept")
	sourcetest.Must(t, probe.Close())
	sourcetest.CopyBank(t, staged+".kept", staged)
	for _, side := range append(sqlitefile.Sides, "") {
		_ = os.Remove(staged + ".kept" + side)
	}
	sourcetest.Must(t, sourcetest.Transfer(db, 5, 6))
	to, _ := v.Backup(t, source)
	sourcetest.Must(t, target.Advance(t.Context(), v.Reader(), from, to))
	for _, side := range sqlitefile.Sides {
		if _, err := os.Lstat(staged + side); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a %s is beside the new database: %v", side, err)
		}
	}
	sourcetest.Must(t, target.Swap(t.Context()))
	if n := sourcetest.CheckBank(t, filepath.Join(target.cfg.Path, "deep", "data.db")); n != 4001 {
		t.Errorf("%d transfers", n)
	}
}

func TestDirectoryRefusesADamagedDatabaseUnlessAllowed(t *testing.T) {
	root := t.TempDir()
	bad := sourcetest.Rewrite(t, "ON t (x)", "ON t (y)", "CREATE TABLE t (x INT, y INT)", "CREATE INDEX i ON t (x)", "INSERT INTO t VALUES (1, 2)")
	sourcetest.CopyBank(t, bad, filepath.Join(root, "bad.db"))
	d, v := newTestDirectory(t, root), sourcetest.NewVault(t)
	e, _ := v.Backup(t, d)
	target := newTestDirectory(t, filepath.Join(t.TempDir(), "out"))
	sourcetest.MustFail(t, target.Stage(t.Context(), v.Reader(), e), "bad.db is damaged, and was so when it was backed up", "missing from index i")
	sourcetest.MustFail(t, target.Swap(t.Context()), "nothing is staged")
	x := &source.Examination{AllowDamage: true}
	sourcetest.Must(t, target.Stage(source.WithExamination(t.Context(), x), v.Reader(), e))
	sourcetest.Must(t, target.Swap(t.Context()))
	if len(x.Damage) != 1 || !strings.HasPrefix(x.Damage[0], "bad.db: ") {
		t.Errorf("found %+v", x.Findings)
	}
}

// A database that its application keeps locked is copied as it is, and torn.
func TestDirectorySaysWhichDatabaseWasLocked(t *testing.T) {
	why, torn := notTaken(fmt.Errorf("open: %w", sqlite.ErrDatabaseChanged))
	if why == "" || !torn {
		t.Errorf("%q %t", why, torn)
	}
	for err, want := range map[error]bool{fs.ErrPermission: false, nil: false} {
		if why, _ := notTaken(err); (why != "") != want {
			t.Errorf("%v: %q", err, why)
		}
	}
}
