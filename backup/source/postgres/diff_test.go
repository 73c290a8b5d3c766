package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

func TestAPostgresDumpsRowsAreComparedWithoutAServer(t *testing.T) {
	srv := server.Postgres(t)
	makeRich(t, srv)
	sqlIn(t, srv.DSN("app"), "CREATE TABLE doubles (x text)", "INSERT INTO doubles VALUES ('d'), ('d'), (NULL), ('\\N'), (E'two\\nlines\\\\.')",
		"CREATE TABLE long (x text)", "INSERT INTO long SELECT repeat('0123456789', 100000)")
	p := newPostgresAt(t, srv, "app")
	s := sourcetest.NewVault(t)
	a := s.Side(t, p)
	sqlIn(t, srv.DSN("app"), "UPDATE doubles SET x = x", "VACUUM FULL doubles")
	if d, _ := sourcetest.Compared(t, a, s.Side(t, p), true); !d.Same {
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
	d, changes := sourcetest.Compared(t, a, s.Side(t, p), true)
	want := source.Difference{
		Tables: []source.TableDifference{
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
	folders := pgclient.ToolDirs
	pgclient.ToolDirs = nil
	defer func() { pgclient.ToolDirs = folders }()
	_, err := source.Compare(t.Context(), a, s.LastSide(), source.CompareOptions{SameKeys: true, Scratch: t.TempDir()})
	sourcetest.MustFail(t, err, "compare db: the dumps differ, and their rows cannot be compared without pg_restore: find pg_restore: not installed: install the client programs of PostgreSQL")
}
