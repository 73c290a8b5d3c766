package source

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/e2e/server"
)

// lacks gives what an entry lacks of the state that its source is in now.
func lacks(t *testing.T, s Source, e Entry) string {
	t.Helper()
	at, err := s.(Positioner).Position(t.Context())
	must(t, err)
	return Since(e, at)
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

func TestADatabaseFileTellsWhetherItHasChangedSinceABackup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bank.db")
	db := newBank(t, path, "wal", 10)
	s := newSQLite(t, path)
	e, _ := newVault(t).mustBackup(s)
	if got := lacks(t, s, e); got != "" {
		t.Errorf("unchanged: %q", got)
	}
	must(t, transfer(db, 1, 2))
	if got := lacks(t, s, e); got != "later commits" {
		t.Errorf("after a commit: %q", got)
	}
}
