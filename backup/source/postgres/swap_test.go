package postgres

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/globals"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

// newSmall makes a database with one row, and returns a vault with its backup.
func newSmall(t *testing.T, srv *server.PostgresServer, database string) (*sourcetest.Vault, source.Entry) {
	t.Helper()
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE "+pgclient.Ident(database))
	sqlIn(t, srv.DSN(database), "CREATE TABLE t AS SELECT 'new' AS state")
	s := sourcetest.NewVault(t)
	e, _ := s.Backup(t, newPostgresAt(t, srv, database))
	return s, e
}

// A swap that stops after any of its statements ends, in a new process, in the
// old or the new state, whichever is asked for, open for connections, with
// nothing left behind.
func TestPostgresSwapSurvivesACrashAfterEachStatement(t *testing.T) {
	srv := server.Postgres(t)
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE a_stage")
	sqlIn(t, srv.DSN("a_stage"), "CREATE TABLE t AS SELECT 'new' AS state")
	sqlIn(t, srv.DSN("postgres"), "CREATE ROLE app_user CONNECTION LIMIT 4", "CREATE ROLE app_admin", "GRANT app_admin TO app_user")
	for _, old := range []string{"old", ""} {
		for _, end := range []string{"finish", "go back", "swap and go back"} {
			for n, more := 1, true; more; n++ {
				more = postgresCrash(t, srv, old, end, n)
			}
		}
	}
}

// leaveStaged leaves the staged database as a restore does.
func leaveStaged(t *testing.T, p *Source, roles *globals.State) {
	t.Helper()
	sourcetest.Must(t, fsx.MakeScratch(p.notes.dir))
	sourcetest.Must(t, p.db.with(t.Context(), func(conn *pgx.Conn) error {
		var left string
		err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) (err error) {
			left, err = p.stage.shut(t.Context(), tx, p.Staged())
			return err
		})
		return errors.Join(err, p.stage.leave(t.Context(), conn, left), p.stager.roles.keep(t.Context(), conn, p.Staged(), roles))
	}))
}

func postgresCrash(t *testing.T, srv *server.PostgresServer, old, end string, n int) bool {
	name := fmt.Sprintf("%q, %s, stop %d", old, end, n)
	kept := old != "" && end != "finish" && n > 1 // by the run before this one
	if !kept {
		sqlIn(t, srv.DSN("postgres"), "DROP DATABASE IF EXISTS app WITH (FORCE)")
	}
	if old != "" && !kept {
		sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE app CONNECTION LIMIT 9")
		sqlIn(t, srv.DSN("app"), "CREATE TABLE t AS SELECT 'old' AS state")
	}
	p := newPostgresAt(t, srv, "app")
	// Staging itself is not what is tested here, and takes longer than this.
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE "+p.Staged()+" TEMPLATE a_stage", "ALTER ROLE app_user CONNECTION LIMIT 4", "GRANT app_admin TO app_user")
	leaveStaged(t, p, &globals.State{Roles: []globals.Role{{Name: "app_user", Inherit: true, Limit: 5}}})
	fault, stopped := sourcetest.StopAfter(n)
	p.db.fault = fault
	err := p.Swap(t.Context())
	if err == nil && end == "swap and go back" {
		err = p.SwapBack(t.Context())
	}
	if err == nil && end == "finish" {
		err = p.Discard(t.Context())
	}
	if stopped() != (err != nil) {
		t.Fatalf("%s: %v", name, err)
	}

	p, err = New("db", Config{URL: srv.DSN("app"), AdminURL: srv.DSN("postgres"), Scratch: p.notes.dir})
	sourcetest.Must(t, err)
	want := old
	if end == "finish" {
		want = "new"
		if err := p.Swap(t.Context()); err != nil && !errors.Is(err, swap.ErrNothingStaged) {
			t.Fatalf("%s: %v", name, err)
		}
		sourcetest.Must(t, p.Discard(t.Context()))
	} else {
		sourcetest.Must(t, p.SwapBack(t.Context()))
		sourcetest.Must(t, p.SwapBack(t.Context()))
	}
	sourcetest.MustSweep(t, p)
	checkDatabase(t, srv, name, want)
	return stopped()
}

func checkDatabase(t *testing.T, srv *server.PostgresServer, name, want string) {
	t.Helper()
	roles := map[bool]string{true: "5 0", false: "4 1"}[want == "new"]
	got := ask(t, srv.DSN("postgres"), "SELECT rolconnlimit || ' ' || (SELECT count(*) FROM pg_auth_members WHERE member = r.oid) FROM pg_roles r WHERE rolname = 'app_user'")
	if !cmp.Equal(got, []string{roles}) {
		t.Errorf("%s: the role has limit and memberships %q, want %q", name, got, roles)
	}
	there := []string{"a_stage"}
	if want != "" {
		there = append(there, "app")
	}
	if got := databases(t, srv); !slices.Equal(got, there) {
		t.Fatalf("%s: databases %q", name, got)
	}
	if want == "" {
		return
	}
	if got := ask(t, srv.DSN("app"), "SELECT state FROM t"); !cmp.Equal(got, []string{want}) {
		t.Errorf("%s: state %q", name, got)
	}
	limit := map[string]string{"old": "9", "new": "-1"}[want]
	got = ask(t, srv.DSN("postgres"), "SELECT datconnlimit || ' ' || datallowconn FROM pg_database WHERE datname = 'app'")
	if !cmp.Equal(got, []string{limit + " true"}) {
		t.Errorf("%s: connection limit and permission %q", name, got)
	}
}

// The sessions of an application that goes on knocking do not stop a swap, and
// those that it had end up nowhere.
func TestPostgresSwapEndsSessions(t *testing.T) {
	srv := server.Postgres(t)
	s, e := newSmall(t, srv, "app")
	sqlIn(t, srv.DSN("app"), "UPDATE t SET state = 'old'")
	idle := connect(t, srv.DSN("app"))
	stop := make(chan struct{})
	knocked := make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				knocked <- n
				return
			default:
			}
			conn, err := newConn(t, srv.DSN("app"))
			if err == nil {
				_, _ = conn.Exec(t.Context(), "SELECT pg_sleep(60)")
				pgclient.CloseConn(t.Context(), conn)
			}
			n++
		}
	}()
	p := newPostgresAt(t, srv, "app")
	s.Stage(t, p, e)
	named := connect(t, srv.DSN("app")+"&application_name=shop")
	connect(t, srv.DSN("postgres")) // is nobody's business
	var ended source.Ended
	sourcetest.Must(t, p.Swap(source.WithEnded(t.Context(), &ended)))
	if err := idle.Ping(t.Context()); err == nil {
		t.Error("a session outlived the swap")
	}
	want := fmt.Sprintf("session %d of role postgres (shop) in database app from 127.0.0.1", named.PgConn().PID())
	if text := ended.String(); !strings.Contains(text, want) || strings.Contains(text, "database postgres") || strings.Contains(text, "understudy") {
		t.Errorf("ended %q, want %q among them", text, want)
	}
	if got := ask(t, srv.DSN("app"), "SELECT state FROM t"); !cmp.Equal(got, []string{"new"}) {
		t.Errorf("state %q", got)
	}
	if _, err := newConn(t, srv.DSN("app_understudy_replaced")); err == nil {
		t.Error("the replaced database takes connections")
	}
	sourcetest.Must(t, p.SwapBack(t.Context()))
	close(stop)
	sqlIn(t, srv.DSN("postgres"), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'app'")
	if n := <-knocked; n < 2 {
		t.Errorf("the application knocked %d times", n)
	}
	checkOld := ask(t, srv.DSN("app"), "SELECT state FROM t")
	if !cmp.Equal(checkOld, []string{"old"}) {
		t.Errorf("state %q", checkOld)
	}
}

func TestPostgresSwapRefusesWhatItDoesNotKnow(t *testing.T) {
	srv := server.Postgres(t)
	s, e := newSmall(t, srv, "app")
	p := newPostgresAt(t, srv, "app")
	sourcetest.MustFail(t, p.Swap(t.Context()), "swap db", "nothing is staged")
	s.Stage(t, p, e)
	sourcetest.Must(t, p.Swap(t.Context()))
	sourcetest.MustFail(t, p.Stage(t.Context(), s.Reader(), e), "neither finished nor rolled back")
	sqlIn(t, srv.DSN("postgres"), "ALTER DATABASE app RENAME TO elsewhere")
	sourcetest.MustFail(t, p.Discard(t.Context()), "neither finished nor rolled back")
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE app_understudy_staged", "CREATE DATABASE app")
	for _, err := range []error{p.Swap(t.Context()), p.SwapBack(t.Context())} {
		sourcetest.MustFail(t, err, "was made again in the midst of a swap")
	}
}

// A prepared transaction cannot be ended from outside: the error says so.
func TestPostgresSwapSaysWhatIsInTheWay(t *testing.T) {
	t.Parallel() // the server waits for a while
	srv := server.Postgres(t)
	s, e := newSmall(t, srv, "app")
	sqlIn(t, srv.DSN("postgres"), "ALTER SYSTEM SET max_prepared_transactions = 3")
	srv.Stop(t)
	srv.Start(t)
	sqlIn(t, srv.DSN("app"), "BEGIN", "INSERT INTO t VALUES ('x')", "PREPARE TRANSACTION 'stuck'")
	p := newPostgresAt(t, srv, "app")
	s.Stage(t, p, e)
	sourcetest.MustFail(t, p.Swap(t.Context()), `rename database "app"`, "prepared transaction")
	sourcetest.Must(t, p.SwapBack(t.Context()))
	sqlIn(t, srv.DSN("app"), "ROLLBACK PREPARED 'stuck'")
}

func TestPostgresLongAndOddNames(t *testing.T) {
	srv := server.Postgres(t)
	long := strings.Repeat("ä", 31) + "/"
	s, e := newSmall(t, srv, long)
	for _, name := range []string{long, `odd "name" with 'quotes' %20 ?#`} {
		p, err := New("db", Config{URL: mustURL(t, srv).To(name).Public(), AdminURL: srv.DSN("postgres"), Scratch: t.TempDir()})
		sourcetest.Must(t, err)
		s.Stage(t, p, e)
		sourcetest.Must(t, p.Swap(t.Context()))
		sourcetest.Must(t, p.Discard(t.Context()))
		if got := ask(t, p.dumper.url.Public(), "SELECT current_database() || state FROM t"); !cmp.Equal(got, []string{name + "new"}) {
			t.Errorf("%q", got)
		}
		for _, beside := range []string{p.Staged(), p.db.replaced(), p.db.absent()} {
			if len(beside) > maxName {
				t.Errorf("name %q has %d bytes", beside, len(beside))
			}
		}
		s.Backup(t, p)
	}
	if besideName(long+"a", "_x") == besideName(long+"b", "_x") {
		t.Error("two databases share a name")
	}
}

// What could not be staged whole is not swapped into place, and leaves nothing.
func TestPostgresFailedStageIsNoStage(t *testing.T) {
	one, two := server.Postgres(t), server.Postgres(t)
	sqlIn(t, one.DSN("postgres"), "CREATE DATABASE app")
	sqlIn(t, one.DSN("app"), "CREATE FUNCTION here() RETURNS bool LANGUAGE sql AS $$ SELECT current_database() = 'app' $$",
		"CREATE TABLE t (x int CHECK (here()))", "INSERT INTO t VALUES (1)")
	s := sourcetest.NewVault(t)
	e, _ := s.Backup(t, newPostgresAt(t, one, "app"))
	p := newPostgresAt(t, two, "app")
	sourcetest.MustFail(t, p.Stage(t.Context(), s.Reader(), e), "stage db: run pg_restore: exit status 1: ", `violates check constraint`)
	sourcetest.MustFail(t, p.Swap(t.Context()), "nothing is staged")
	sourcetest.Must(t, p.Discard(t.Context()))
	if got := databases(t, two); len(got) > 0 {
		t.Errorf("databases %q", got)
	}

	clear(s.Packs)
	sourcetest.MustFail(t, p.Stage(t.Context(), s.Reader(), e), "stage db: ")
	if left, _ := os.ReadDir(p.notes.dir); len(left) > 0 {
		t.Errorf("left in the scratch folder: %v", left)
	}
}

// The earlier stage stays until the new one is whole, and goes then.
func TestPostgresKeepsItsStageUntilAnotherIsWhole(t *testing.T) {
	srv := server.Postgres(t)
	s, e := newSmall(t, srv, "app")
	p := newPostgresAt(t, srv, "app")
	print := func() string {
		t.Helper()
		got, err := p.Fingerprint(t.Context())
		sourcetest.Must(t, err)
		return got
	}
	if got := print(); got != "" {
		t.Errorf("with nothing staged the fingerprint is %q", got)
	}
	sourcetest.Must(t, p.Stage(t.Context(), s.Reader(), e))
	first := print()
	broken := e
	broken.Root.Size++
	sourcetest.MustFail(t, p.Stage(t.Context(), s.Reader(), broken), "stage db: ")
	if got := print(); got != first || first == "" {
		t.Errorf("the fingerprint is %q after a stage that failed, and was %q", got, first)
	}
	sourcetest.Must(t, p.Stage(t.Context(), s.Reader(), e))
	if got := print(); got == first || got == "" {
		t.Errorf("the fingerprint of another stage is %q", got)
	}
	if got, want := databases(t, srv), []string{"app", p.Staged()}; !slices.Equal(got, want) {
		t.Errorf("databases %q, want %q", got, want)
	}
	sourcetest.Must(t, p.SwapBack(t.Context()))
	sourcetest.MustSweep(t, p)
	if got := databases(t, srv); !slices.Equal(got, []string{"app"}) {
		t.Errorf("databases %q after the stage was dropped", got)
	}
}
