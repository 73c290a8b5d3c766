package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

func newConn(t testing.TB, dsn string) (*pgx.Conn, error) { return pgx.Connect(t.Context(), dsn) }

func mustURL(t testing.TB, srv *server.PostgresServer) url.URL {
	t.Helper()
	c, err := parseConnURL(srv.DSN("x"))
	sourcetest.Must(t, err)
	return c.url
}

// archiveHead makes the head of an archive as pg_dump writes it.
func archiveHead(minor, width byte, tm [7]int) []byte {
	b := []byte("PGDMP")
	b = append(b, 1, minor, 0, width, 8, archiveCustom)
	number := func(n int) {
		sign := byte(0)
		if n < 0 {
			sign, n = 1, -n
		}
		var le [8]byte
		binary.LittleEndian.PutUint64(le[:], uint64(n))
		b = append(append(b, sign), le[:width]...)
	}
	if minor >= 15 {
		b = append(b, 0)
	} else {
		number(0)
	}
	for _, n := range tm {
		number(n)
	}
	return append(b, "and then the rest"...)
}

func TestPostgresArchiveTimeIsTheOnlyThingRewritten(t *testing.T) {
	fixed := [7]int{0, 0, 0, 1, 0, 100, 0}
	odd := [7]int{61, 61, 61, 61, 61, 61, 61}
	for _, tt := range []struct {
		name         string
		minor, width byte
		from, to     [7]int
	}{
		{"version 1.14", 14, 4, [7]int{9, 58, 23, 31, 11, 126, 1}, fixed},
		{"version 1.14, daylight saving unknown", 14, 4, [7]int{9, 58, 23, 31, 11, 126, -1}, fixed},
		{"version 1.16", 16, 4, [7]int{9, 58, 23, 31, 11, 126, 0}, fixed},
		{"wide ints", 14, 8, [7]int{9, 58, 23, 31, 11, 126, 0}, fixed},
		{"not a time", 14, 4, odd, odd},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := timelessArchive(bytes.NewReader(archiveHead(tt.minor, tt.width, tt.from)))
			sourcetest.Must(t, err)
			got, err := io.ReadAll(r)
			sourcetest.Must(t, err)
			if diff := cmp.Diff(archiveHead(tt.minor, tt.width, tt.to), got); diff != "" {
				t.Error(diff)
			}
		})
	}
	unknown := append([]byte("PGDMP\x02\x00\x00\x04\x08\x01"), "whatever"...)
	r, err := timelessArchive(bytes.NewReader(unknown))
	sourcetest.Must(t, err)
	if got, _ := io.ReadAll(r); !bytes.Equal(got, unknown) {
		t.Error("an unknown layout was changed")
	}
	for _, bad := range []string{"", "PGDMP", "-- a plain dump, as text, of some length", "PGDMP\x01\x0e\x00\x04\x08\x01\x00\x00"} {
		_, err := timelessArchive(strings.NewReader(bad))
		sourcetest.MustFail(t, err, "read head of the dump")
	}
}

func TestPostgresURLsKeepThePasswordOutOfSight(t *testing.T) {
	for _, tt := range []struct{ raw, public, database, password string }{
		{"postgres://app@/app?host=/run/postgresql", "postgres://app@/app?host=%2Frun%2Fpostgresql", "app", ""},
		{"postgres://u:s%40cret@h:5433/db", "postgres://u@h:5433/db", "db", "s@cret"},
		{"postgresql://h/db?password=secret&sslmode=disable&user=u", "postgresql://h/db?sslmode=disable&user=u", "db", "secret"},
		{"postgres://h/?dbname=a+b&application_name=a+b", "postgres://h/a%20b?application_name=a%20b", "a b", ""},
	} {
		c, err := parseConnURL(tt.raw)
		sourcetest.Must(t, err)
		if c.public() != tt.public || c.database != tt.database || c.password != tt.password {
			t.Errorf("%s: %s, database %q, password %q", tt.raw, c.public(), c.database, c.password)
		}
		cfg, err := c.to("other").config()
		sourcetest.Must(t, err)
		if cfg.Database != "other" || cfg.Password != tt.password {
			t.Errorf("%s: config for %q with %q", tt.raw, cfg.Database, cfg.Password)
		}
		env := strings.Join(c.environ(15), "\n")
		if tt.password != "" && !strings.Contains(env, "PGPASSWORD="+tt.password) {
			t.Errorf("%s: no password in the environment", tt.raw)
		}
	}
	for raw, want := range map[string]string{
		"postgres://u:secret@h:port/db":            "not a valid URL",
		"mysql://u:secret@h/db":                    "must begin with postgres://",
		"postgres://u:secret@h":                    "names no database",
		"postgres://u:secret@h/db?sslpassword=xyz": "sslpassword is not supported",
	} {
		_, err := New("db", Config{URL: raw, Scratch: "x"})
		sourcetest.MustFail(t, err, "source db: postgres: url: ", want)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("error tells the password: %v", err)
		}
	}
	_, err := New("db", Config{URL: "postgres://h/db", AdminURL: "postgres://h/db", Scratch: "x"})
	sourcetest.MustFail(t, err, "admin_url", "the database to be replaced")
	_, err = New("db", Config{URL: "postgres://h/db"})
	sourcetest.MustFail(t, err, "scratch folder is missing")
}

func TestPostgresSQLIsQuoted(t *testing.T) {
	for in, want := range map[string]string{
		`a`: `'a'`, `it's`: `'it''s'`, `back\slash's`: `E'back\\slash''s'`, ``: `''`,
	} {
		if got := literal(in); got != want {
			t.Errorf("%q: %s", in, got)
		}
	}
	for in, want := range map[string][]string{
		``: nil, `""`: {""}, `a, b`: {"a", "b"}, `"$user", public`: {"$user", "public"},
		`"a, ""b", c`: {`a, "b`, "c"}, `"", a`: {"", "a"},
	} {
		if diff := cmp.Diff(want, splitNames(in)); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
	yes, no := true, false
	for _, tt := range []struct {
		m     membership
		major int
		want  string
	}{
		{membership{Role: "a", Member: "b"}, 15, `GRANT "a" TO "b"`},
		{membership{Role: "a", Member: "b", Admin: true}, 15, `GRANT "a" TO "b" WITH ADMIN OPTION`},
		{membership{Role: "a", Member: "b", Inherit: &no, Set: &yes}, 15, `GRANT "a" TO "b"`},
		{membership{Role: "a", Member: "b", Inherit: &no, Set: &yes}, 17, `GRANT "a" TO "b" WITH ADMIN false, INHERIT false, SET true`},
	} {
		if got := tt.m.grant(tt.major); got != tt.want {
			t.Errorf("%s", got)
		}
	}
	for _, tt := range []struct {
		d    databaseProps
		want string
	}{
		{databaseProps{Provider: "c"}, ""},
		{databaseProps{Provider: "i", Locale: "de", Rules: "&a<b"}, " LOCALE_PROVIDER icu ICU_LOCALE 'de' ICU_RULES '&a<b'"},
		{databaseProps{Provider: "b", Locale: "C.UTF-8"}, " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"},
	} {
		if got := tt.d.create("x"); !strings.HasSuffix(got, "LC_CTYPE ''"+tt.want) {
			t.Errorf("%s", got)
		}
	}
}

// fakeTools puts programs that give a version into folders, one each.
func fakeTools(t *testing.T, name string, versions ...string) {
	t.Helper()
	dir := t.TempDir()
	for i, v := range versions {
		folder := filepath.Join(dir, fmt.Sprint(i), "bin")
		sourcetest.Must(t, os.MkdirAll(folder, 0o755))
		script := fmt.Sprintf("#!/bin/sh\necho '%s (PostgreSQL) %s'\n", name, v)
		sourcetest.Must(t, os.WriteFile(filepath.Join(folder, name), []byte(script), 0o755))
	}
	old := toolFolders
	t.Cleanup(func() { toolFolders = old })
	toolFolders = []string{filepath.Join(dir, "*", "bin")}
	t.Setenv("PATH", "/nowhere")
}

func TestPostgresToolsAreChosenByVersion(t *testing.T) {
	for _, tt := range []struct {
		have  []string
		major int
		want  int
		err   string
	}{
		{[]string{"14.1", "16.2 (Debian 16.2-1)", "18beta1"}, 15, 16, ""},
		{[]string{"14.1", "15.0", "16.2"}, 15, 15, ""},
		{[]string{"13.1", "14.9"}, 15, 0, "find pg_dump: version 15 is needed and 14 is the newest here: install"},
		{nil, 15, 0, "find pg_dump: not installed: install the client programs of PostgreSQL 15"},
	} {
		t.Run(fmt.Sprint(tt.have), func(t *testing.T) {
			fakeTools(t, "pg_dump", tt.have...)
			got, err := findTool(t.Context(), "pg_dump", tt.major)
			if tt.err != "" {
				sourcetest.MustFail(t, err, tt.err)
				return
			}
			sourcetest.Must(t, err)
			if got.major != tt.want {
				t.Errorf("chose %d", got.major)
			}
		})
	}
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
	_, _, err = sourcetest.NewShelf(t).TryBackup(t.Context(), none)
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
	s := sourcetest.NewShelf(t)
	e, _ := s.Backup(t, p)
	g, err := readExtra(t.Context(), s.Reader(), e)
	sourcetest.Must(t, err)
	if len(g.Roles) != 1 || g.Roles[0].Name != "owner" || g.Roles[0].Password != nil {
		t.Errorf("roles %+v", g.Roles)
	}
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
	}{
		{[]string{"CREATE TABLE closed AS SELECT 1 AS x"}, []string{"DROP TABLE closed"}, "permission denied for table closed"},
		{[]string{"SELECT lo_create(4711)"}, []string{"SELECT lo_unlink(4711)"}, "permission denied for large object 4711"},
		{
			[]string{"CREATE TABLE secrets AS SELECT 1 AS x", "ALTER TABLE secrets OWNER TO stranger", "ALTER TABLE secrets ENABLE ROW LEVEL SECURITY", "ALTER TABLE secrets FORCE ROW LEVEL SECURITY"},
			[]string{"DROP TABLE secrets"}, `row-level security policy for table "secrets"`,
		},
	} {
		sqlIn(t, srv.DSN("app"), tt.make...)
		_, _, err = sourcetest.NewShelf(t).TryBackup(t.Context(), p)
		sourcetest.MustFail(t, err, "dump db: ", "run pg_dump: exit status 1: ", tt.want, `role "stranger"`, "name a superuser in admin_url")
		withAdmin, adminErr := New("db", Config{URL: as("stranger", "app"), AdminURL: srv.DSN("postgres"), Scratch: t.TempDir()})
		sourcetest.Must(t, adminErr)
		sourcetest.NewShelf(t).Backup(t, withAdmin) // who reads everything
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
		_, _, err := sourcetest.NewShelf(t).TryBackup(ctx, newPostgresAt(t, srv, "app"))
		done <- err
	}()
	for len(ask(t, srv.DSN("postgres"), "SELECT 'waits' FROM pg_stat_activity WHERE wait_event_type = 'Lock'")) == 0 {
		sourcetest.Must(t, t.Context().Err())
	}
	cancel(fmt.Errorf("that is enough"))
	sourcetest.MustFail(t, <-done, "that is enough")
}
