package postgres

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

func newConn(t testing.TB, dsn string) (*pgx.Conn, error) { return pgx.Connect(t.Context(), dsn) }

func mustURL(t testing.TB, srv *server.PostgresServer) pgclient.URL {
	t.Helper()
	c, err := pgclient.ParseURL(srv.DSN("x"), 0)
	sourcetest.Must(t, err)
	return c
}

// TestPostgresURLsThatFitNoSource has what New refuses, and keeps the password out of it.
func TestPostgresURLsThatFitNoSource(t *testing.T) {
	_, err := New("db", Config{URL: "postgres://u:secret@h:port/db", Scratch: "x"})
	sourcetest.MustFail(t, err, "source db: postgres: url: not a valid URL")
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("error tells the password: %v", err)
	}
	_, err = New("db", Config{URL: "postgres://h/db", AdminURL: "postgres://h/db", Scratch: "x"})
	sourcetest.MustFail(t, err, "admin_url", "the database to be replaced")
	_, err = New("db", Config{URL: "postgres://h/db"})
	sourcetest.MustFail(t, err, "scratch folder is missing")
}

func TestPostgresErrorsSayWhatToDo(t *testing.T) {
	srv := server.Postgres(t)
	s, e := newSmall(t, srv, "app")
	sqlIn(t, srv.DSN("postgres"), "CREATE ROLE weak LOGIN CREATEDB", "CREATE ROLE enough LOGIN CREATEDB CREATEROLE IN ROLE pg_signal_backend")
	as := func(user string) string { return strings.Replace(srv.DSN("postgres"), "postgres@", user+"@", 1) }
	for admin, want := range map[string]string{
		as("weak"):   `role "weak" cannot restore: make it a superuser, or give it CREATEDB, CREATEROLE and pg_signal_backend`,
		as("nobody"): `connect to database "postgres"`,
	} {
		p, err := New("db", Config{URL: srv.DSN("app"), AdminURL: admin, Scratch: t.TempDir()})
		sourcetest.Must(t, err)
		sourcetest.MustFail(t, p.Check(t.Context()), "source db: check admin_url: ", want)
	}
	p, err := New("db", Config{URL: srv.DSN("app"), AdminURL: as("enough"), Scratch: t.TempDir()})
	sourcetest.Must(t, err)
	sourcetest.Must(t, p.Check(t.Context()))

	none := newPostgresAt(t, srv, "none")
	_, _, err = sourcetest.NewVault(t).TryBackup(t.Context(), none)
	sourcetest.MustFail(t, err, "dump db: ", `connect to database "none"`, "does not exist")

	p = newPostgresAt(t, srv, "app")
	newer := e
	newer.Facts = bytes.Replace(e.Facts, []byte(`"server_major":`), []byte(`"server_major":9`), 1)
	sourcetest.MustFail(t, p.Stage(t.Context(), s.Reader(), newer), "stage db: the server runs PostgreSQL ", "and the dump was made of PostgreSQL 9")

	huge := e
	huge.Facts = bytes.Replace(e.Facts, []byte(`"size":`), []byte(`"size":99999999999`), 1)
	sourcetest.MustFail(t, p.Stage(t.Context(), s.Reader(), huge), "bytes free and the restored database needs about")
	if got := databases(t, srv); !cmp.Equal(got, []string{"app"}) {
		t.Errorf("databases %q", got)
	}
}

// A dump by an application's own user needs no superuser.
func TestPostgresDumpNeedsNoSuperuser(t *testing.T) {
	srv := server.Postgres(t)
	sqlIn(t, srv.DSN("postgres"), "CREATE ROLE owner LOGIN PASSWORD 'secret'", "CREATE DATABASE app OWNER owner")
	own := strings.Replace(srv.DSN("app"), "postgres@", "owner:secret@", 1)
	sqlIn(t, own, "CREATE TABLE t AS SELECT 1 AS x")
	p, err := New("db", Config{URL: own, AdminURL: strings.Replace(own, "/app", "/postgres", 1), Scratch: t.TempDir()})
	sourcetest.Must(t, err)
	s := sourcetest.NewVault(t)
	e, _ := s.Backup(t, p)
	g, err := readExtra(t.Context(), s.Reader(), e)
	sourcetest.Must(t, err)
	if len(g.Roles) != 1 || g.Roles[0].Name != "owner" || g.Roles[0].Password != nil {
		t.Errorf("roles %+v", g.Roles)
	}
	sqlIn(t, srv.DSN("app"), // of another's, which may be read
		"CREATE TABLE theirs (x serial)", "GRANT SELECT ON theirs, theirs_x_seq TO owner", "CREATE VIEW shown AS SELECT rolname FROM pg_authid",
		"SELECT lo_create(4712)", "GRANT SELECT ON LARGE OBJECT 4712 TO PUBLIC")
	sourcetest.Must(t, p.Preview(t.Context()))
	s.Backup(t, p)
}

// Where nobody is a superuser, what the role that dumps may not read is named.
func TestPostgresPgDumpFailureIsQuoted(t *testing.T) {
	srv := server.Postgres(t)
	sqlIn(t, srv.DSN("postgres"), "CREATE ROLE stranger LOGIN", "CREATE ROLE enough LOGIN CREATEDB CREATEROLE IN ROLE pg_signal_backend", "CREATE DATABASE app OWNER stranger")
	as := func(user, database string) string {
		return strings.Replace(srv.DSN(database), "postgres@", user+"@", 1)
	}
	p, err := New("db", Config{URL: as("stranger", "app"), AdminURL: as("enough", "postgres"), Scratch: t.TempDir()})
	sourcetest.Must(t, err)
	for _, tt := range []struct {
		make, drop []string
		want       string
		preview    string
	}{
		{[]string{"CREATE TABLE closed AS SELECT 1 AS x"}, []string{"DROP TABLE closed"}, "permission denied for table closed", "all of table public.closed: "},
		{[]string{"CREATE SEQUENCE closed"}, []string{"DROP SEQUENCE closed"}, "permission denied for sequence closed", "all of sequence public.closed: "},
		{[]string{"CREATE SCHEMA shut", "CREATE TABLE shut.t AS SELECT 1 AS x", "GRANT SELECT ON shut.t TO stranger"}, []string{"DROP SCHEMA shut CASCADE"}, "permission denied for schema shut", "all of table shut.t: "},
		{[]string{"SELECT lo_create(4711)"}, []string{"SELECT lo_unlink(4711)"}, "permission denied for large object 4711", "all of large object 4711: "},
		{
			[]string{"CREATE TABLE secrets AS SELECT 1 AS x", "ALTER TABLE secrets OWNER TO stranger", "ALTER TABLE secrets ENABLE ROW LEVEL SECURITY", "ALTER TABLE secrets FORCE ROW LEVEL SECURITY"},
			[]string{"DROP TABLE secrets"}, `row-level security policy for table "secrets"`, "all of table public.secrets: ",
		},
	} {
		sourcetest.Must(t, p.Preview(t.Context()))
		sqlIn(t, srv.DSN("app"), tt.make...)
		_, _, err = sourcetest.NewVault(t).TryBackup(t.Context(), p)
		sourcetest.MustFail(t, err, "dump db: ", "run pg_dump: exit status 1: ", tt.want, `role "stranger"`, "name a superuser in admin_url")
		sourcetest.Must(t, p.Check(t.Context()))
		sourcetest.MustFail(t, p.Preview(t.Context()), "source db: ", `role "stranger"`, tt.preview, "name a superuser in admin_url")
		withAdmin, adminErr := New("db", Config{URL: as("stranger", "app"), AdminURL: srv.DSN("postgres"), Scratch: t.TempDir()})
		sourcetest.Must(t, adminErr)
		sourcetest.Must(t, withAdmin.Preview(t.Context()))
		sourcetest.NewVault(t).Backup(t, withAdmin) // who reads everything
		sqlIn(t, srv.DSN("app"), tt.drop...)
	}
}

func TestPostgresDumpEndsWithItsContext(t *testing.T) {
	srv := server.Postgres(t)
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE app")
	sqlIn(t, srv.DSN("app"), "CREATE TABLE t AS SELECT 1 AS x")
	locker := connect(t, srv.DSN("app"))
	for _, sql := range []string{"BEGIN", "LOCK TABLE t"} { // pg_dump waits for it
		_, err := locker.Exec(t.Context(), sql)
		sourcetest.Must(t, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() {
		_, _, err := sourcetest.NewVault(t).TryBackup(ctx, newPostgresAt(t, srv, "app"))
		done <- err
	}()
	for len(ask(t, srv.DSN("postgres"), "SELECT 'waits' FROM pg_stat_activity WHERE wait_event_type = 'Lock'")) == 0 {
		sourcetest.Must(t, t.Context().Err())
	}
	cancel(fmt.Errorf("that is enough"))
	sourcetest.MustFail(t, <-done, "that is enough")
}
