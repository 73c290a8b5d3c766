package postgres

import (
	"errors"
	"io/fs"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

// A new server has neither the database nor the application's role.
func TestABlankServerTakesOverOrSaysWhatToRun(t *testing.T) {
	srv := server.Postgres(t)
	as := func(user string) string {
		u, err := url.Parse(srv.DSN("app"))
		sourcetest.Must(t, err)
		u.User = url.User(user)
		return u.String()
	}
	at := func(admin string) *Source {
		p, err := New("db", Config{URL: as("newcomer"), AdminURL: admin, Scratch: filepath.Join(t.TempDir(), "scratch")})
		sourcetest.Must(t, err)
		return p
	}
	alone, withAdmin := at(""), at(srv.DSN("postgres"))
	sourcetest.MustFail(t, source.CheckRestore(t.Context(), alone), "admin_url", `CREATE ROLE "newcomer" LOGIN CREATEDB CREATEROLE`, `GRANT pg_signal_backend TO "newcomer"`)
	sourcetest.Must(t, source.CheckRestore(t.Context(), withAdmin))
	if err := withAdmin.Check(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it could be dumped here: %v", err)
	}
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE app")
	sourcetest.Must(t, source.CheckRestore(t.Context(), withAdmin)) // the role is still to be made
	sourcetest.MustFail(t, withAdmin.Check(t.Context()), "check url", "newcomer")
	sqlIn(t, srv.DSN("postgres"), `CREATE ROLE "newcomer" LOGIN CREATEDB CREATEROLE`, `GRANT pg_signal_backend TO "newcomer"`)
	sourcetest.Must(t, source.CheckRestore(t.Context(), alone))
}
