package directory

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// A database in a directory that became empty is told of, as one that is a source
// of its own is; one that comes and goes beside larger ones is not.
func TestADatabaseInADirectoryThatBecameEmptyIsTold(t *testing.T) {
	remove := func(names ...string) func(t *testing.T, dir string, d *Source) {
		return func(t *testing.T, dir string, _ *Source) {
			for _, name := range names {
				sourcetest.Must(t, fsx.RemoveFiles(filepath.Join(dir, name)))
			}
		}
	}
	for name, it := range map[string]struct {
		change func(t *testing.T, dir string, d *Source)
		want   string // "": nothing is told
	}{
		"made again": {func(t *testing.T, dir string, _ *Source) {
			sourcetest.Must(t, fsx.RemoveFiles(filepath.Join(dir, "in/app.db")))
			db := sourcetest.OpenBank(t, filepath.Join(dir, "in/app.db"), "wal")
			_, err := db.Exec("PRAGMA user_version = 1")
			sourcetest.Must(t, err)
			t.Cleanup(func() { db.Close() }) // it is in use
		}, `the database "in/app.db" had tables (44 KiB), has none`},
		"made again and closed": {func(t *testing.T, dir string, _ *Source) {
			sourcetest.Must(t, fsx.RemoveFiles(filepath.Join(dir, "small.db")))
			db := sourcetest.OpenBank(t, filepath.Join(dir, "small.db"), "delete")
			_, err := db.Exec("PRAGMA user_version = 1")
			sourcetest.Must(t, err)
			sourcetest.Must(t, db.Close())
		}, `the database "small.db" had tables (16 KiB), has none`},
		"all tables dropped": {func(t *testing.T, dir string, _ *Source) {
			db := sourcetest.OpenBank(t, filepath.Join(dir, "small.db"), "delete")
			_, err := db.Exec("DROP TABLE accounts; DROP TABLE log")
			sourcetest.Must(t, err)
			sourcetest.Must(t, db.Close())
		}, `the database "small.db" had tables (16 KiB), has none`},
		"cut off": {func(t *testing.T, dir string, _ *Source) {
			sourcetest.Must(t, os.Truncate(filepath.Join(dir, "in/app.db"), 0))
		}, `the database "in/app.db" had tables (44 KiB), has none`},
		"gone":         {remove("in/app.db", "small.db"), `databases that had tables are gone: "in/app.db" (44 KiB), "small.db" (16 KiB)`},
		"most is gone": {remove("in/app.db"), `databases that had tables are gone: "in/app.db" (44 KiB)`},
		"a small one":  {remove("small.db"), ""},
		"moved": {func(t *testing.T, dir string, _ *Source) {
			sourcetest.Must(t, os.Rename(filepath.Join(dir, "in/app.db"), filepath.Join(dir, "moved.db")))
		}, ""},
		"excluded": {func(_ *testing.T, _ string, d *Source) { d.cfg.Exclude = []string{"in"} }, ""},
		"another policy": {func(_ *testing.T, _ string, d *Source) {
			d.cfg.Databases = DatabasePolicy{Patterns: []string{"*.db"}}
		}, ""},
		"a source of its own": {func(t *testing.T, dir string, d *Source) {
			source.Nest([]source.Source{d, newGuest(t, filepath.Join(dir, "in/app.db"))})
		}, ""},
		"overwritten": {func(t *testing.T, dir string, _ *Source) {
			sourcetest.Must(t, os.WriteFile(filepath.Join(dir, "in/app.db"), []byte(sqlitefile.Magic+strings.Repeat("x", 5000)), 0o644))
		}, ""}, // which is said of each backup
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sourcetest.Must(t, os.Mkdir(filepath.Join(dir, "in"), 0o755))
			bank := sourcetest.NewBank(t, filepath.Join(dir, "in/app.db"), "delete", 40)
			_, err := bank.Exec("CREATE TABLE more (t text); INSERT INTO more VALUES ('x')")
			sourcetest.Must(t, err)
			sourcetest.Must(t, bank.Close())
			sourcetest.Must(t, sourcetest.NewBank(t, filepath.Join(dir, "small.db"), "delete", 1).Close())
			d, v := newTestDirectory(t, dir), sourcetest.NewVault(t)
			was, _ := v.Backup(t, d)
			for range 2 { // the second one takes them as they were
				same, _ := v.Backup(t, d)
				if text := source.Lost(was, same); text != "" {
					t.Fatalf("nothing has changed: %q", text)
				}
			}
			it.change(t, dir, d)
			is, _ := v.Backup(t, d)
			if text := source.Lost(was, is); text != it.want {
				t.Errorf("told %q, want %q; %s", text, it.want, is.Facts)
			}
			after, _ := v.Backup(t, d)
			if text := source.Lost(is, after) + source.Lost(is, was); text != "" {
				t.Errorf("afterwards: %q", text)
			}
			// A backup that knows nothing of the earlier one tells the same.
			v.Prev, v.Index = nil, nil
			if whole, _ := v.Backup(t, d); (it.want != "") != (source.Lost(was, whole) != "") && d.others == nil && d.cfg.Exclude == nil {
				t.Errorf("in full: %q", source.Lost(was, whole))
			}
		})
	}
}

// So many that only their number tells.
func TestManyDatabasesInADirectoryAreCounted(t *testing.T) {
	tables := func(n int) *directoryTables {
		d := directoryDatabases{sizes: map[string]int64{}}
		for i := range n {
			d.add(databaseRecord{Path: fmt.Sprintf("tenants/%06d.db", i), Fingerprint: "x"}, 8192)
		}
		return d.tables(func(string) bool { return false })
	}
	full := tables(10_000)
	if len(full.Largest) != maxPopulated || full.Count != 10_000 {
		t.Fatalf("%d of %d are named", len(full.Largest), full.Count)
	}
	for left, want := range map[int]string{10_000: "", 5000: "", 4999: "had 10,000 databases with tables, has 4,999", 0: "had 10,000 databases with tables, has 0"} {
		if text := tables(left).lost(full); text != want {
			t.Errorf("%d left: %q, want %q", left, text, want)
		}
	}
}

// What lies on a file system that is mounted within a directory is in its backups
// as anything else is: a database as it stands in one transaction, without what
// belongs to another source.
func TestDirectoryTakesWhatLiesBelowAMountPoint(t *testing.T) {
	dir := t.TempDir()
	volume := filepath.Join(dir, "volume")
	sourcetest.Mounting(t, "understudy", volume, "tmpfs", 0)
	sourcetest.Must(t, os.Mkdir(filepath.Join(volume, "in"), 0o755))
	db := sourcetest.NewBank(t, filepath.Join(volume, "in/app.db"), "wal", 40)
	t.Cleanup(func() { db.Close() })
	guest := sourcetest.NewBank(t, filepath.Join(volume, "in/guest.db"), "wal", 3)
	t.Cleanup(func() { guest.Close() })
	d, v := newTestDirectory(t, dir), sourcetest.NewVault(t)
	source.Nest([]source.Source{d, newGuest(t, filepath.Join(volume, "in/guest.db"))})
	for n := range 3 {
		sourcetest.Must(t, sourcetest.Transfer(db, 1, 2)) // is in the WAL
		e, _ := v.Backup(t, d)
		want := []string{"d .", "d volume", "d volume/in", "f volume/in/app.db"}
		if got := paths(t, v); !slices.Equal(got, want) {
			t.Errorf("the tree has %q, want %q", got, want)
		}
		if f := factsOf(t, e); f.Databases != 1 || f.Mounts["volume"] != 1 || f.Tables.Count != 1 || len(e.Warnings) > 0 {
			t.Errorf("facts %+v, warnings %q", f, e.Warnings)
		}
		out := filepath.Join(t.TempDir(), "out")
		sourcetest.Must(t, source.Export(t.Context(), v.Reader(), e, out))
		if got := sourcetest.CheckBank(t, filepath.Join(out, "volume/in/app.db")); got != 41+n {
			t.Errorf("%d transfers of %d", got, 41+n)
		}
	}
}
