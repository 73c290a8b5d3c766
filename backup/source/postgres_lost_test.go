package source

import (
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/e2e/server"
)

func TestAPostgresDatabaseThatBecameEmptyIsTold(t *testing.T) {
	srv := server.Postgres(t)
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE app")
	sqlIn(t, srv.DSN("app"), "CREATE TABLE t (i int primary key)", "INSERT INTO t VALUES (1)")
	src, v := newPostgresAt(t, srv, "app"), newVault(t)
	full, _ := v.mustBackup(src)
	sqlIn(t, srv.DSN("app"), "DROP TABLE t")
	empty, _ := v.mustBackup(src)
	if text := Lost(full, empty); text != "had 1 tables, has none" || Lost(empty, full) != "" || Lost(full, full) != "" {
		t.Errorf("told %q", text)
	}
}

func TestADatabaseTellsHowFarItHasComeSinceABackup(t *testing.T) {
	srv := server.Postgres(t)
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE app")
	sqlIn(t, srv.DSN("app"), "CREATE TABLE t AS SELECT repeat('x', 100) FROM generate_series(1, 1000)")
	p := newPostgresAt(t, srv, "app")
	e, _ := newVault(t).mustBackup(p)
	sqlIn(t, srv.DSN("app"), "INSERT INTO t SELECT repeat('y', 1000) FROM generate_series(1, 1000)")
	if got := lacks(t, p, e); !strings.Contains(got, "MiB of write-ahead log") {
		t.Errorf("after a megabyte more: %q", got)
	}
	if got := Since(e, "not a position"); got != "" {
		t.Errorf("of nonsense: %q", got)
	}
}
