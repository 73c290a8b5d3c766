package source

import (
	"errors"
	"io/fs"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/e2e/server"
)

// A new server has neither the database nor the application's role.
func TestABlankServerTakesOverOrSaysWhatToRun(t *testing.T) {
	srv := server.Postgres(t)
	as := func(user string) string {
		u, err := url.Parse(srv.DSN("app"))
		must(t, err)
		u.User = url.User(user)
		return u.String()
	}
	source := func(admin string) *Postgres {
		p, err := NewPostgres("db", PostgresConfig{URL: as("newcomer"), AdminURL: admin, Scratch: filepath.Join(t.TempDir(), "scratch")})
		must(t, err)
		return p
	}
	alone, withAdmin := source(""), source(srv.DSN("postgres"))
	mustFail(t, CheckRestore(t.Context(), alone), "admin_url", `CREATE ROLE "newcomer" LOGIN CREATEDB CREATEROLE`, `GRANT pg_signal_backend TO "newcomer"`)
	must(t, CheckRestore(t.Context(), withAdmin))
	if err := withAdmin.Check(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it could be dumped here: %v", err)
	}
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE app")
	must(t, CheckRestore(t.Context(), withAdmin)) // the role is still to be made
	mustFail(t, withAdmin.Check(t.Context()), "check url", "newcomer")
	sqlIn(t, srv.DSN("postgres"), `CREATE ROLE "newcomer" LOGIN CREATEDB CREATEROLE`, `GRANT pg_signal_backend TO "newcomer"`)
	must(t, CheckRestore(t.Context(), alone))
}
