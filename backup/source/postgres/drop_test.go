package postgres

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

// takeover stages an entry on a server, swaps it in and drops what it replaced.
func takeover(t *testing.T, s *sourcetest.Vault, e source.Entry, p *Source) {
	t.Helper()
	s.Stage(t, p, e)
	sourcetest.Must(t, p.Swap(t.Context()))
	sourcetest.Must(t, p.Discard(t.Context()))
	left, err := p.Sweep(t.Context())
	sourcetest.Must(t, err)
	if len(left) > 0 {
		t.Fatalf("left: %+v", left)
	}
}

// A database with whatever keeps a server from dropping it: in the stage that a
// new one replaces, in the stage that is given up, and in what was replaced.
func TestPostgresDropsWhateverIsInIt(t *testing.T) {
	publisher, srv := server.PostgresOf(t, "postgres", "wal_level=logical"), server.PostgresOf(t, "postgres", "wal_level=logical", "max_prepared_transactions=5")
	sqlIn(t, publisher.DSN("postgres"), "CREATE PUBLICATION everything FOR ALL TABLES",
		"SELECT pg_create_logical_replication_slot('news', 'pgoutput')")
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE app")
	sqlIn(t, srv.DSN("app"),
		"CREATE TABLE t AS SELECT 'new' AS state",
		"CREATE SUBSCRIPTION news CONNECTION '"+publisher.DSN("postgres")+"' PUBLICATION everything WITH (create_slot = false, slot_name = 'news')",
		"CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN IF tg_tag LIKE '%SUBSCRIPTION' THEN RAISE 'not here'; END IF; END $$",
		"CREATE EVENT TRIGGER refuse ON ddl_command_start EXECUTE FUNCTION refuse()",
		"ALTER EVENT TRIGGER refuse ENABLE ALWAYS")
	sqlIn(t, srv.DSN("postgres"), "ALTER DATABASE app IS_TEMPLATE true")
	reads := func(want string) {
		t.Helper()
		for range 200 {
			if got := ask(t, publisher.DSN("postgres"), "SELECT active::text FROM pg_replication_slots WHERE slot_name = 'news'"); cmp.Equal(got, []string{want}) {
				return
			}
			sqlIn(t, srv.DSN("postgres"), "SELECT pg_sleep(0.1)")
		}
		t.Fatalf("the publisher's slot is not as it was: in use should be %s", want)
	}
	reads("true")
	p, s := newPostgresAt(t, srv, "app"), sourcetest.NewVault(t)
	e, _ := s.Backup(t, p)
	if !strings.Contains(strings.Join(e.Warnings, "\n"), "subscriptions (news): a restore leaves them disabled") {
		t.Errorf("warnings %q", e.Warnings)
	}
	s.Stage(t, p, e)
	s.Stage(t, p, e) // which drops the one before
	sourcetest.Must(t, p.SwapBack(t.Context()))
	reads("true") // nothing of it was the live database's
	sqlIn(t, srv.DSN("app"), "CREATE TABLE u (x int)")
	takeover(t, s, e, p)
	if got := databases(t, srv); len(got) > 0 { // app is a template
		t.Errorf("databases %q", got)
	}
	got := ask(t, srv.DSN("app"), "SELECT datistemplate || ' ' || (SELECT string_agg(subname || subenabled || coalesce(subslotname, '-'), ',') FROM pg_subscription) FROM pg_database WHERE datname = 'app'")
	if !cmp.Equal(got, []string{"true newsfalsenews"}) {
		t.Errorf("restored: %q", got)
	}
	reads("false") // it is there, and nobody reads from it
}

// Somebody reads from a slot of the database, or has prepared a transaction in
// a stage.
func TestPostgresDropsWhatIsInUse(t *testing.T) {
	srv := server.PostgresOf(t, "postgres", "wal_level=logical", "max_prepared_transactions=5")
	s, e := newSmall(t, srv, "app")
	p := newPostgresAt(t, srv, "app")
	s.Stage(t, p, e)
	sqlIn(t, srv.DSN("postgres"), openTo(p.Staged()))
	sqlIn(t, srv.DSN(p.Staged()), "SELECT pg_create_logical_replication_slot('theirs', 'pgoutput')",
		"BEGIN", "INSERT INTO t VALUES ('x')", "PREPARE TRANSACTION 'stuck'")
	sourcetest.Must(t, p.SwapBack(t.Context()))
	if got := databases(t, srv); !cmp.Equal(got, []string{"app"}) {
		t.Errorf("databases %q", got)
	}
	sqlIn(t, srv.DSN("app"), "BEGIN", "INSERT INTO t VALUES ('x')", "PREPARE TRANSACTION 'of the application'")
	sourcetest.MustFail(t, p.CheckRestore(t.Context()), "source db: ", "prepared transactions (of the application)", "commit them or roll them back")
}

// What an administrator who is no superuser may not drop is in nobody's way,
// and is named until it is gone.
func TestPostgresLeavesWhatItMayNotDrop(t *testing.T) {
	srv := server.PostgresOf(t, "postgres", "wal_level=logical")
	sqlIn(t, srv.DSN("postgres"), "CREATE ROLE app LOGIN CREATEDB CREATEROLE IN ROLE pg_signal_backend", "CREATE DATABASE app OWNER app")
	own := strings.Replace(srv.DSN("app"), "postgres@", "app@", 1)
	sqlIn(t, own, "CREATE TABLE t AS SELECT 'new' AS state")
	p, err := New("db", Config{URL: own, Scratch: t.TempDir()})
	sourcetest.Must(t, err)
	s := sourcetest.NewVault(t)
	e, _ := s.Backup(t, p)
	sqlIn(t, srv.DSN("app"), "CREATE SUBSCRIPTION s CONNECTION 'host=/nowhere' PUBLICATION p WITH (connect = false)")
	for range 2 {
		s.Stage(t, p, e)
		sourcetest.Must(t, p.Swap(t.Context()))
		sourcetest.Must(t, p.Discard(t.Context()))
	}
	left, err := p.Sweep(t.Context())
	sourcetest.Must(t, err)
	if len(left) != 1 || left[0].Path != "database app_understudy_dropped_1" || !strings.Contains(left[0].Reason, "subscription") {
		t.Errorf("left: %+v", left)
	}
	sqlIn(t, srv.DSN("postgres"), "ALTER ROLE app SUPERUSER")
	if left, err = p.Sweep(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("left: %+v, %v", left, err)
	}
}

// A template, and one that takes no connections, are restored onto.
func TestPostgresReplacesATemplateThatIsClosed(t *testing.T) {
	srv := server.Postgres(t)
	s, e := newSmall(t, srv, "app")
	sqlIn(t, srv.DSN("postgres"), "ALTER DATABASE app IS_TEMPLATE true ALLOW_CONNECTIONS false")
	takeover(t, s, e, newPostgresAt(t, srv, "app"))
	if got := databases(t, srv); !cmp.Equal(got, []string{"app"}) {
		t.Errorf("databases %q", got)
	}
}
