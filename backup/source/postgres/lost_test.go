package postgres

import (
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

func TestAPostgresDatabaseThatBecameEmptyIsTold(t *testing.T) {
	srv := server.Postgres(t)
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE app")
	sqlIn(t, srv.DSN("app"), "CREATE TABLE t (i int primary key)", "INSERT INTO t VALUES (1)")
	src, v := newPostgresAt(t, srv, "app"), sourcetest.NewVault(t)
	full, _ := v.Backup(t, src)
	sqlIn(t, srv.DSN("app"), "DROP TABLE t")
	empty, _ := v.Backup(t, src)
	if text := source.Lost(full, empty); text != "had 1 tables, has none" || source.Lost(empty, full) != "" || source.Lost(full, full) != "" {
		t.Errorf("told %q", text)
	}
}

func TestADatabaseTellsHowFarItHasComeSinceABackup(t *testing.T) {
	srv := server.Postgres(t)
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE app")
	sqlIn(t, srv.DSN("app"), "CREATE TABLE t AS SELECT repeat('x', 100) FROM generate_series(1, 1000)")
	p := newPostgresAt(t, srv, "app")
	e, _ := sourcetest.NewVault(t).Backup(t, p)
	sqlIn(t, srv.DSN("app"), "INSERT INTO t SELECT repeat('y', 1000) FROM generate_series(1, 1000)")
	if got := sourcetest.Lacks(t, p, e); !strings.Contains(got, "MiB of write-ahead log") {
		t.Errorf("after a megabyte more: %q", got)
	}
	if got := source.Since(e, "not a position"); got != "" {
		t.Errorf("of nonsense: %q", got)
	}
}
