package sqlite

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestASQLiteDatabasesRowsAreCompared(t *testing.T) {
	sourcetest.Must(t, sqlitefile.OwnLocks())
	path := filepath.Join(t.TempDir(), "app.db")
	db, err := sql.Open("sqlite", path)
	sourcetest.Must(t, err)
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
	src, err := New("app", Config{Path: path, Scratch: t.TempDir()})
	sourcetest.Must(t, err)
	s := sourcetest.NewVault(t)
	a := s.Side(t, src)
	do("VACUUM")
	if d, changes := sourcetest.Compared(t, a, s.Side(t, src), true); !d.Same || len(changes) > 0 {
		t.Errorf("after a vacuum: %+v %v", d, changes)
	}
	do(
		"UPDATE users SET name = 'ANN' WHERE id = 1", "UPDATE users SET v = 0 WHERE id = 2", "UPDATE users SET v = 3.0 WHERE id = 3",
		"DELETE FROM users WHERE id = 5", "INSERT INTO users (id, name) VALUES (6, 'fay')",
		`UPDATE "odd ""name" SET v = 'changed' WHERE k1 = 'it''s'`, `DELETE FROM "odd ""name" WHERE k1 = 'b'`,
		"INSERT INTO log VALUES ('r', 'three')", "DROP TABLE dropped", "ALTER TABLE grown ADD COLUMN more DEFAULT 7",
		"CREATE TABLE made (x)",
	)
	d, changes := sourcetest.Compared(t, a, s.Side(t, src), true)
	want := source.Difference{
		Tables: []source.TableDifference{
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
	wantRows := []source.Change{
		{Change: source.Added, Table: "log", Key: "3"},
		{Change: source.Removed, Table: `odd "name`, Key: "1, 'b'"},
		{Change: source.Changed, Table: `odd "name`, Key: "2, 'it''s'"},
		{Change: source.Removed, Table: "users", Key: "5"},
		{Change: source.Added, Table: "users", Key: "6"},
		{Change: source.Changed, Table: "users", Key: "1"},
		{Change: source.Changed, Table: "users", Key: "2"},
		{Change: source.Changed, Table: "users", Key: "3"},
	}
	if diff := cmp.Diff(wantRows, changes); diff != "" {
		t.Error(diff)
	}
}
