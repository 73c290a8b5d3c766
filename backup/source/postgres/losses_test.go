package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

// as is a server's URL for another role.
func as(srv *server.PostgresServer, user, database string) string {
	return strings.Replace(srv.DSN(database), srv.Superuser+"@", user+"@", 1)
}

// hiddenFromOthers is what only a superuser can read.
var hiddenFromOthers = []string{
	"CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p WITH (connect = false)",
	"CREATE EXTENSION postgres_fdw", "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw", "CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'u', password 'p')",
}

// A superuser dumps where a URL names one: then all of it is there. Otherwise
// what is not there is said.
func TestPostgresKeepsWhatOnlyASuperuserSees(t *testing.T) {
	one, two := server.PostgresOf(t, "postgres", "wal_level=logical"), server.Postgres(t)
	sqlIn(t, one.DSN("postgres"), "CREATE ROLE app LOGIN PASSWORD 'x'", "CREATE ROLE helper LOGIN CREATEDB CREATEROLE IN ROLE pg_signal_backend", "CREATE DATABASE app OWNER app")
	sqlIn(t, one.DSN("app"), hiddenFromOthers...)
	source := func(srv *server.PostgresServer, user, admin string) *Source {
		p, err := New("db", Config{URL: as(srv, user, "app"), AdminURL: as(srv, admin, "postgres"), Scratch: t.TempDir()})
		sourcetest.Must(t, err)
		return p
	}
	for _, p := range []*Source{source(one, "app", "postgres"), source(one, "postgres", "helper")} {
		s := sourcetest.NewVault(t)
		e, _ := s.Backup(t, p)
		if len(e.Warnings) > 0 {
			t.Errorf("warnings %q", e.Warnings)
		}
		takeover(t, s, e, source(two, "app", "postgres"))
		got := ask(t, two.DSN("app"), "SELECT subname || subenabled || subslotname || (SELECT umoptions::text FROM pg_user_mappings) || (SELECT rolpassword LIKE 'SCRAM%' FROM pg_authid WHERE rolname = 'app') FROM pg_subscription")
		if !cmp.Equal(got, []string{"sfalses{password=p,user=u}true"}) {
			t.Errorf("restored: %q", got)
		}
	}
	e, _ := sourcetest.NewVault(t).Backup(t, source(one, "app", "helper"))
	said := strings.Join(e.Warnings, "\n")
	for _, want := range []string{
		"subscriptions (s) are not in the backup", "options of user mappings (public on far) are not in the backup",
		"passwords of roles are not in the backup", "name a superuser in admin_url", "subscriptions not dumped because current user is not a superuser",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("nobody says %q: %q", want, e.Warnings)
		}
	}
}

func TestPostgresSaysWhatIsNotKept(t *testing.T) {
	srv := server.PostgresOf(t, "postgres", "wal_level=logical", "allow_in_place_tablespaces=on")
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE app", "CREATE TABLESPACE elsewhere LOCATION ''")
	sqlIn(t, srv.DSN("app"), "CREATE TABLE t (x int) TABLESPACE elsewhere", "SELECT pg_create_logical_replication_slot('theirs', 'pgoutput')")
	e, _ := sourcetest.NewVault(t).Backup(t, newPostgresAt(t, srv, "app"))
	said := strings.Join(e.Warnings, "\n")
	for _, want := range []string{"logical replication slots (theirs) are not in a backup", "tablespaces (elsewhere) are not kept"} {
		if !strings.Contains(said, want) {
			t.Errorf("nobody says %q: %q", want, e.Warnings)
		}
	}
}

// A dump waits for a lock for a while, and says then who holds it.
func TestPostgresNamesWhoHoldsALock(t *testing.T) {
	srv := server.PostgresOf(t, "postgres", "max_prepared_transactions=5")
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE app", "CREATE ROLE migrator SUPERUSER LOGIN")
	sqlIn(t, srv.DSN("app"), "CREATE TABLE orders AS SELECT 1 AS x")
	p, err := New("db", Config{URL: srv.DSN("app"), AdminURL: srv.DSN("postgres"), Scratch: t.TempDir(), LockTimeout: 200 * time.Millisecond})
	sourcetest.Must(t, err)
	locker := connect(t, as(srv, "migrator", "app"))
	for _, sql := range []string{"BEGIN", "LOCK TABLE orders"} {
		_, err := locker.Exec(t.Context(), sql)
		sourcetest.Must(t, err)
	}
	_, _, err = sourcetest.NewVault(t).TryBackup(t.Context(), p)
	sourcetest.MustFail(t, err, "waited 200ms for a lock that is held by process ", "of role migrator", "table public.orders", "LOCK TABLE orders")
	_, err = locker.Exec(t.Context(), "PREPARE TRANSACTION 'forgotten'")
	sourcetest.Must(t, err)
	_, _, err = sourcetest.NewVault(t).TryBackup(t.Context(), p)
	sourcetest.MustFail(t, err, "held by prepared transaction 'forgotten' of role migrator", "table public.orders")
	sqlIn(t, srv.DSN("app"), "ROLLBACK PREPARED 'forgotten'")
	sourcetest.NewVault(t).Backup(t, p)
}

// What servers, databases and roles have as their defaults holds for tools too.
func TestPostgresDefaultsOfTheServerDisturbNothing(t *testing.T) {
	settings := []string{
		"statement_timeout=300", "lock_timeout=1", "idle_in_transaction_session_timeout=300", "idle_session_timeout=300", "default_transaction_read_only=on",
		"default_transaction_isolation=serializable", "search_path=trap", "DateStyle=SQL, DMY", "IntervalStyle=sql_standard", "array_nulls=off", "row_security=off",
	}
	one, two := server.Postgres(t), server.Postgres(t)
	sqlIn(t, one.DSN("postgres"), "CREATE DATABASE app")
	sqlIn(t, one.DSN("app"), "CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM pg_sleep(0.001); RETURN $1; END'",
		"CREATE TABLE t AS SELECT i, '2020-02-01'::timestamptz AS at, ARRAY['NULL', NULL] AS a, '-1 day +02:00'::interval AS iv FROM generate_series(1, 500) i", "CREATE INDEX ON t (slow(i))")
	want := ask(t, one.DSN("app"), "SELECT t::text FROM t ORDER BY i LIMIT 3")
	for _, srv := range []*server.PostgresServer{one, two} {
		for _, s := range settings {
			name, value, _ := strings.Cut(s, "=")
			if name == "search_path" || name == "array_nulls" {
				sqlIn(t, srv.DSN("postgres"), "SET default_transaction_read_only TO off", "ALTER ROLE postgres SET "+name+" TO "+pgclient.Literal(value))
			} else {
				sqlIn(t, srv.DSN("postgres"), "SET default_transaction_read_only TO off", "ALTER SYSTEM SET "+name+" TO "+pgclient.Literal(value), "SELECT pg_reload_conf()")
			}
		}
	}
	s := sourcetest.NewVault(t)
	e, _ := s.Backup(t, newPostgresAt(t, one, "app"))
	takeover(t, s, e, newPostgresAt(t, two, "app"))
	plain := "?options=-c%20search_path%3Dpublic%20-c%20DateStyle%3DISO%20-c%20IntervalStyle%3Dpostgres&sslmode=disable"
	if got := ask(t, strings.Split(two.DSN("app"), "?")[0]+plain, "SELECT t::text FROM t ORDER BY i LIMIT 3"); !cmp.Equal(got, want) {
		t.Errorf("restored %q, want %q", got, want)
	}
}

// What keeps a database from being restored is said before anything is begun.
func TestPostgresExtensionsThatAServerLacksAreNamed(t *testing.T) {
	srv := server.Postgres(t)
	_, e := newSmall(t, srv, "app")
	p := newPostgresAt(t, srv, "app")
	sourcetest.Must(t, p.Accept(t.Context(), e))
	with := func(extension string) source.Entry {
		e := e
		e.Facts = []byte(strings.Replace(string(e.Facts), `"extensions":{`, `"extensions":{"`+extension+`":"1.6",`, 1))
		return e
	}
	sourcetest.MustFail(t, p.Accept(t.Context(), with("not_here")), "does not have (not_here 1.6)", "install their packages")
	sourcetest.MustFail(t, p.Accept(t.Context(), with("pg_cron")), "extension pg_cron can be in one database of a server alone", "cron.schedule_in_database")
}

func TestPostgresRemarksAreTheWarningsOfTools(t *testing.T) {
	got := remarks("pg_dump: warning: one\npg_dump: detail: more\n\nWARNING:  two\nHINT:  do\n")
	if diff := cmp.Diff([]string{"pg_dump: warning: one; detail: more", "WARNING:  two; do"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestPostgresSnapshotsHaveAnAge(t *testing.T) {
	now := time.Unix(1, 0)
	w := &snapshotWatch{now: func() time.Time { return now }}
	check := func(age, last time.Duration) {
		t.Helper()
		if a, l := w.age(); a != age || l != last {
			t.Errorf("age %s, last %s, want %s and %s", a, l, age, last)
		}
	}
	check(0, 0)
	w.begin()
	now = now.Add(time.Minute)
	check(time.Minute, 0)
	w.end()
	now = now.Add(time.Minute)
	check(0, time.Minute)
}

// A database whose rows are all gone is not taken for one whose statistics are.
func TestPostgresTellsThatItBecameEmpty(t *testing.T) {
	srv := server.Postgres(t)
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE app")
	sqlIn(t, srv.DSN("app"), "CREATE TABLE t WITH (autovacuum_enabled = off) AS SELECT 1 AS x FROM generate_series(1, 2000)")
	p, s := newPostgresAt(t, srv, "app"), sourcetest.NewVault(t)
	unknown, _ := s.Backup(t, p)
	sqlIn(t, srv.DSN("app"), "ANALYZE")
	full, _ := s.Backup(t, p)
	if lost := source.Lost(full, unknown); lost != "" {
		t.Errorf("without statistics: %s", lost)
	}
	sqlIn(t, srv.DSN("app"), "SELECT pg_stat_reset()")
	reset, _ := s.Backup(t, p)
	if lost := source.Lost(full, reset); lost != "" {
		t.Errorf("with its statistics gone: %s", lost)
	}
	for _, sql := range []string{"DELETE FROM t", "TRUNCATE t"} {
		sqlIn(t, srv.DSN("app"), sql, "SELECT pg_stat_force_next_flush()")
		sqlIn(t, srv.DSN("app"), "SELECT pg_stat_reset()") // whatever the statistics say
		empty, _ := s.Backup(t, p)
		if lost := source.Lost(full, empty); lost != "had about 2,000 rows, has none" {
			t.Errorf("after %s: %q", sql, lost)
		}
	}
}
