package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

// A staged database takes no connections. Whoever opens it all the same is found
// out, whatever they do afterwards, also after the server was started again; such
// a stage is not swapped.
func TestPostgresAStageThatSomebodyOpenedIsDamaged(t *testing.T) {
	srv := server.Postgres(t)
	s, e := newSmall(t, srv, "app")
	p := newPostgresAt(t, srv, "app")
	damaged := func(want int64) {
		t.Helper()
		found, err := p.Inspect(t.Context())
		sourcetest.Must(t, err)
		if found.Damaged != want || want > 0 && !strings.Contains(found.First, p.Staged()) {
			t.Errorf("found %+v, want %d damaged", found, want)
		}
	}
	sourcetest.Must(t, p.Stage(t.Context(), s.Reader(), e))
	if _, err := newConn(t, srv.DSN(p.Staged())); err == nil {
		t.Error("a superuser is let into the stage")
	}
	damaged(0)
	srv.Stop(t)
	srv.Start(t)
	sqlIn(t, srv.DSN("postgres"), "VACUUM FREEZE pg_database", "VACUUM FULL pg_database")
	damaged(0)
	sqlIn(t, srv.DSN("postgres"), openTo(p.Staged()))
	sqlIn(t, srv.DSN(p.Staged()), "INSERT INTO t VALUES ('of somebody')")
	damaged(1)
	sqlIn(t, srv.DSN("postgres"), closeTo(p.Staged()))
	damaged(1)
	srv.Stop(t)
	srv.Start(t)
	damaged(1)
	sourcetest.MustFail(t, p.Swap(t.Context()), "swap db: ", "is not as it was left")
	sourcetest.MustFail(t, p.OpenStage(t.Context()), "is not as it was left")
	takeover(t, s, e, p)
	if got := ask(t, srv.DSN("app"), "SELECT string_agg(state, ' ') FROM t"); len(got) != 1 || got[0] != "new" {
		t.Errorf("rows %q", got)
	}
}

// A stage that is opened for a probe, which reads, is as good as before, and one
// that somebody wrote to meanwhile is none any more.
func TestPostgresAStageIsOpenedForReading(t *testing.T) {
	srv := server.Postgres(t)
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE app")
	sqlIn(t, srv.DSN("app"), "CREATE TABLE t AS SELECT 'new' AS state", "CREATE SEQUENCE tickets", "SELECT nextval('tickets')", "CREATE VIEW v AS SELECT * FROM t", "CREATE TABLE empty (x int)")
	s := sourcetest.NewVault(t)
	p := newPostgresAt(t, srv, "app")
	e, _ := s.Backup(t, p)
	sourcetest.Must(t, p.Stage(t.Context(), s.Reader(), e))
	while := func(do func()) error {
		return source.Opened(t.Context(), []source.Source{p}, func() error {
			do()
			return nil
		})
	}
	for range 2 {
		sourcetest.Must(t, while(func() {
			ask(t, srv.DSN(p.Staged()), "SELECT state FROM v ORDER BY 1")
			connect(t, srv.DSN(p.Staged())) // and stays
		}))
		if _, err := newConn(t, srv.DSN(p.Staged())); err == nil {
			t.Error("the stage stays open")
		}
		found, err := p.Inspect(t.Context())
		sourcetest.Must(t, err)
		if found.Damaged > 0 {
			t.Errorf("found %+v", found)
		}
	}
	for _, sql := range []string{
		"INSERT INTO t VALUES ('x')", "UPDATE t SET state = 'x'", "DELETE FROM t", "TRUNCATE t", "SELECT nextval('tickets')", "SELECT lo_from_bytea(0, 'x')",
		"CREATE TABLE u (x int)", "DROP TABLE empty", "ALTER TABLE t ADD COLUMN y int", "COMMENT ON TABLE t IS 'x'", "SELECT setval('tickets', 99)",
	} {
		if err := while(func() { sqlIn(t, srv.DSN(p.Staged()), sql) }); !errors.Is(err, source.ErrWritten) {
			t.Errorf("%s: %v", sql, err)
		}
		found, err := p.Inspect(t.Context())
		sourcetest.Must(t, err)
		if found.Damaged == 0 {
			t.Errorf("%s: the stage counts as whole", sql)
		}
		sourcetest.Must(t, p.Stage(t.Context(), s.Reader(), e))
	}
	failed := errors.New("the probe does not like it")
	if err := source.Opened(t.Context(), []source.Source{p}, func() error { return failed }); !errors.Is(err, failed) || errors.Is(err, source.ErrWritten) {
		t.Errorf("a probe that fails: %v", err)
	}
	sourcetest.Must(t, p.Swap(t.Context()))
}
