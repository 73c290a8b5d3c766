package source

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

// side backs a source up, and gives that as one side of a comparison.
func (s *shelf) side(t testing.TB, src Source) Side {
	t.Helper()
	e, _ := s.backup(t, src)
	return Side{Entry: e, Reader: s.reader()}
}

// compared compares two sides of one shelf, and gives the changes too.
func compared(t testing.TB, a, b Side, sameKeys bool) (Difference, []Change) {
	t.Helper()
	var changes []Change
	scratch := t.TempDir()
	d, err := Compare(t.Context(), a, b, CompareOptions{SameKeys: sameKeys, Scratch: scratch, Found: func(c Change) error {
		changes = append(changes, c)
		return nil
	}})
	must(t, err)
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left in the scratch folder: %v %v", left, err)
	}
	return d, changes
}

func TestIdenticalPartsAreNotRead(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600))
	e, _ := newShelf(t).backup(t, newTestDirectory(t, dir))
	d, err := Compare(t.Context(), Side{Entry: e}, Side{Entry: e}, CompareOptions{SameKeys: true}) // no reader: it would panic
	if err != nil || !d.Same {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestADirectorysDifferencesAreListed(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		must(t, os.MkdirAll(filepath.Dir(in(name)), 0o755))
		must(t, os.WriteFile(in(name), []byte(text), 0o644))
		must(t, os.Chtimes(in(name), time.Unix(1e9, 0), time.Unix(1e9, 0)))
	}
	for _, name := range []string{"a/same", "a/touched", "a/mode", "gone/x", "z", "link/old", "kind"} {
		write(name, "of "+name)
	}
	write("edited", "one")
	src := newTestDirectory(t, dir)
	one, two := newShelf(t), newShelf(t)
	a := one.side(t, src)
	other := two.side(t, src) // under other keys

	write("edited", "two")
	write("a.b", "sorts between a and a/same")
	write("a/same", "of a/same")
	must(t, os.Chtimes(in("a/touched"), time.Unix(2e9, 0), time.Unix(2e9, 0)))
	must(t, os.Chmod(in("a/mode"), 0o600))
	must(t, os.RemoveAll(in("gone")))
	must(t, os.Remove(in("kind")))
	must(t, os.Symlink("z", in("kind")))
	write("z", "longer than before")
	b := one.side(t, src)

	want := []Change{
		{Change: Changed, Path: "a/mode", Type: "file", What: []string{"mode"}, SizeA: 9, SizeB: 9},
		{Change: Changed, Path: "a/touched", Type: "file", What: []string{"mtime"}, SizeA: 12, SizeB: 12},
		{Change: Added, Path: "a.b", Type: "file", SizeB: 26},
		{Change: Changed, Path: "edited", Type: "file", What: []string{"content"}, SizeA: 3, SizeB: 3},
		{Change: Removed, Path: "gone", Type: "folder"},
		{Change: Removed, Path: "gone/x", Type: "file", SizeA: 9},
		{Change: Changed, Path: "kind", Type: "symlink", What: []string{"type"}, SizeA: 7},
		{Change: Changed, Path: "z", Type: "file", What: []string{"content", "size"}, SizeA: 4, SizeB: 18},
	}
	files := &FileDifference{Added: FileCount{1, 26}, Removed: FileCount{2, 9}, Changed: FileCount{5, 9 + 12 + 3 + 18}}
	d, changes := compared(t, a, b, true)
	if diff := cmp.Diff(want, changes); diff != "" || !cmp.Equal(d, Difference{Files: files}) {
		t.Errorf("%+v %+v\n%s", d, d.Files, diff)
	}
	if d, changes = compared(t, other, b, false); cmp.Diff(want, changes) != "" {
		t.Errorf("under other keys: %+v %v", d, changes)
	}
	again := two.side(t, src)
	if d, changes = compared(t, b, again, false); !d.Same || len(changes) > 0 {
		t.Errorf("the same under other keys: %+v %v", d, changes)
	}
}

func TestARestoredDirectoryIsTheSame(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	must(t, os.Mkdir(from, 0o755))
	sourcetest.WriteOddities(t, from)
	s := newShelf(t)
	a := s.side(t, newTestDirectory(t, from))
	must(t, Export(t.Context(), a.Reader, a.Entry, to))
	b := s.side(t, newTestDirectory(t, to))
	if d, changes := compared(t, a, b, true); !d.Same {
		t.Errorf("%+v %v", d, changes)
	}
}

func TestASQLiteDatabasesRowsAreCompared(t *testing.T) {
	must(t, ownLocks())
	path := filepath.Join(t.TempDir(), "app.db")
	db, err := sql.Open("sqlite", path)
	must(t, err)
	defer db.Close()
	do := func(statements ...string) {
		t.Helper()
		for _, q := range statements {
			if _, err := db.ExecContext(t.Context(), q); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
	}
	do(
		"PRAGMA journal_mode = WAL",
		"CREATE TABLE same (id INTEGER PRIMARY KEY, t TEXT)", "INSERT INTO same VALUES (1, 'x'), (2, NULL)",
		"CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, v, twice AS (v * 2))",
		"INSERT INTO users (id, name, v) VALUES (1, 'ann', 1), (2, 'bob', NULL), (3, 'cyd', 3), (4, 'dee', 4), (5, 'eve', x'00')",
		`CREATE TABLE "odd ""name" (k1 TEXT NOT NULL, k2 INT NOT NULL, v TEXT, PRIMARY KEY (k2, k1)) WITHOUT ROWID`,
		`INSERT INTO "odd ""name" VALUES ('a', 1, 'x'), ('b', 1, 'y'), ('it''s', 2, 'z')`,
		"CREATE TABLE log (rowid TEXT, line TEXT)", "INSERT INTO log VALUES ('r', 'one'), ('r', 'two')",
		"CREATE TABLE dropped (x)", "INSERT INTO dropped VALUES (1), (2)",
		"CREATE TABLE grown (id INTEGER PRIMARY KEY, v)", "INSERT INTO grown VALUES (1, 'x')",
		"CREATE VIRTUAL TABLE words USING fts5(text)", "INSERT INTO words VALUES ('hello')",
	)
	src, err := NewSQLite("app", SQLiteConfig{Path: path, Scratch: t.TempDir()})
	must(t, err)
	s := newShelf(t)
	a := s.side(t, src)
	do("VACUUM")
	if d, changes := compared(t, a, s.side(t, src), true); !d.Same || len(changes) > 0 {
		t.Errorf("after a vacuum: %+v %v", d, changes)
	}
	do(
		"UPDATE users SET name = 'ANN' WHERE id = 1", "UPDATE users SET v = 0 WHERE id = 2", "UPDATE users SET v = 3.0 WHERE id = 3",
		"DELETE FROM users WHERE id = 5", "INSERT INTO users (id, name) VALUES (6, 'fay')",
		`UPDATE "odd ""name" SET v = 'changed' WHERE k1 = 'it''s'`, `DELETE FROM "odd ""name" WHERE k1 = 'b'`,
		"INSERT INTO log VALUES ('r', 'three')", "DROP TABLE dropped", "ALTER TABLE grown ADD COLUMN more DEFAULT 7",
		"CREATE TABLE made (x)",
	)
	d, changes := compared(t, a, s.side(t, src), true)
	want := Difference{
		Tables: []TableDifference{
			{Name: "dropped", RowsA: 2, OnlyA: 2, Note: "the table is only in A"},
			{Name: "log", RowsA: 2, RowsB: 3, OnlyB: 1},
			{Name: "made", Note: "the table is only in B"},
			{Name: `odd "name`, RowsA: 3, RowsB: 2, OnlyA: 1, Changed: 1},
			{Name: "users", RowsA: 5, RowsB: 5, OnlyA: 1, OnlyB: 1, Changed: 3},
		},
		Notes: []string{"the schema differs: compare the output of .schema for both files"},
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
	wantRows := []Change{
		{Change: Added, Table: "log", Key: "3"},
		{Change: Removed, Table: `odd "name`, Key: "1, 'b'"},
		{Change: Changed, Table: `odd "name`, Key: "2, 'it''s'"},
		{Change: Removed, Table: "users", Key: "5"},
		{Change: Added, Table: "users", Key: "6"},
		{Change: Changed, Table: "users", Key: "1"},
		{Change: Changed, Table: "users", Key: "2"},
		{Change: Changed, Table: "users", Key: "3"},
	}
	if diff := cmp.Diff(wantRows, changes); diff != "" {
		t.Error(diff)
	}
}

func TestAPostgresDumpsRowsAreComparedWithoutAServer(t *testing.T) {
	srv := server.Postgres(t)
	makeRich(t, srv)
	sqlIn(t, srv.DSN("app"), "CREATE TABLE doubles (x text)", "INSERT INTO doubles VALUES ('d'), ('d'), (NULL), ('\\N'), (E'two\\nlines\\\\.')",
		"CREATE TABLE long (x text)", "INSERT INTO long SELECT repeat('0123456789', 100000)")
	p := newPostgresAt(t, srv, "app")
	s := newShelf(t)
	a := s.side(t, p)
	sqlIn(t, srv.DSN("app"), "UPDATE doubles SET x = x", "VACUUM FULL doubles")
	if d, _ := compared(t, a, s.side(t, p), true); !d.Same {
		t.Errorf("rows in another order: %+v", d)
	}
	sqlIn(t, srv.DSN("app"),
		"DELETE FROM doubles WHERE ctid = (SELECT min(ctid) FROM doubles WHERE x = 'd')", "INSERT INTO doubles VALUES ('new')",
		"UPDATE long SET x = overlay(x placing 'x' from 700000)",
		`INSERT INTO "odd, ""schema".parts SELECT 1, 1 FROM generate_series(1, 40)`,
		`SELECT nextval('"odd, ""schema".ticket')`,
		`SELECT lo_put(4711, 100, 'changed')`, "CREATE TABLE made (x int)", "INSERT INTO made VALUES (1)",
		"ALTER ROLE reader SET work_mem = '6MB'",
	)
	d, changes := compared(t, a, s.side(t, p), true)
	want := Difference{
		Tables: []TableDifference{
			{Name: `"odd, ""schema".parts_1`, RowsA: 500, RowsB: 540, OnlyB: 40},
			{Name: "(large objects)", RowsA: 1, RowsB: 1, OnlyA: 1, OnlyB: 1},
			{Name: "(sequences)", RowsA: 2, RowsB: 2, OnlyA: 1, OnlyB: 1},
			{Name: "public.doubles", RowsA: 5, RowsB: 5, OnlyA: 1, OnlyB: 1},
			{Name: "public.long", RowsA: 1, RowsB: 1, OnlyA: 1, OnlyB: 1},
			{Name: "public.made", RowsB: 1, OnlyB: 1},
		},
		Notes: []string{
			"the schema differs: compare the output of pg_restore --schema-only -f - for both dumps",
			"roles, or settings of the database, differ",
		},
	}
	if diff := cmp.Diff(want, d); diff != "" || len(changes) > 0 {
		t.Errorf("%v %s", changes, diff)
	}
	t.Setenv("PATH", t.TempDir())
	folders := toolFolders
	toolFolders = nil
	defer func() { toolFolders = folders }()
	_, err := Compare(t.Context(), a, s.lastSide(), CompareOptions{SameKeys: true, Scratch: t.TempDir()})
	mustFail(t, err, "compare db: the dumps differ, and their rows cannot be compared without pg_restore: find pg_restore: not installed: install the client programs of PostgreSQL")
}

// lastSide is the last backup.
func (s *shelf) lastSide() Side { return Side{Entry: s.prev.Entry, Reader: s.prev.Reader} }

func TestACommandsOutputsAreComparedByteForByte(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	big := make([]byte, 3<<20)
	_, _ = random.Read(big) // never fails
	edited := append([]byte{}, big...)
	edited[2<<20+17]++
	dir := t.TempDir()
	file := filepath.Join(dir, "state")
	src, err := NewCommand("queue", CommandConfig{Dump: []string{"cat", file}, Restore: []string{"true"}, Scratch: dir})
	must(t, err)
	for name, tt := range map[string]struct {
		a, b []byte
		want Difference
	}{
		"a byte":   {big, edited, Difference{Bytes: &ByteDifference{3 << 20, 3 << 20, 2<<20 + 17}}},
		"the end":  {big, big[:1<<20], Difference{Bytes: &ByteDifference{3 << 20, 1 << 20, 1 << 20}}},
		"an empty": {nil, []byte("x"), Difference{Bytes: &ByteDifference{0, 1, 0}}},
		"nothing":  {edited, edited, Difference{Same: true}},
	} {
		t.Run(name, func(t *testing.T) {
			one, two := newShelf(t), newShelf(t)
			must(t, os.WriteFile(file, tt.a, 0o600))
			a := one.side(t, src)
			must(t, os.WriteFile(file, tt.b, 0o600))
			b, other := one.side(t, src), two.side(t, src)
			if d, _ := compared(t, a, b, true); !cmp.Equal(d, tt.want) {
				t.Errorf("%+v %+v", d, d.Bytes)
			}
			if d, _ := compared(t, a, other, false); !cmp.Equal(d, tt.want) {
				t.Errorf("under other keys: %+v %+v", d, d.Bytes)
			}
		})
	}
}

func TestAComparisonEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	dir := t.TempDir()
	src, err := NewCommand("queue", CommandConfig{Dump: []string{"date", "+%N"}, Restore: []string{"true"}, Scratch: dir})
	must(t, err)
	s := newShelf(t)
	a := s.side(t, src)
	b := s.side(t, src)
	cancel(fmt.Errorf("that is enough"))
	if _, err := Compare(ctx, a, b, CompareOptions{Scratch: dir}); err == nil || !strings.Contains(err.Error(), "compare queue: ") {
		t.Errorf("%v", err)
	}
}
