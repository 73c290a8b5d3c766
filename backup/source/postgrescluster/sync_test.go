package postgrescluster

import (
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/backup/stream"
)

// TestCommitsWaitForWhatIsConfirmed, from when that is armed, and for nothing else: not for
// what was received alone, nor for whoever makes backups.
func TestCommitsWaitForWhatIsConfirmed(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	s.sql("CREATE TABLE t (n int)")
	src := s.source(func(cfg *Config) { cfg.Sync = true })
	log, err := src.OpenLog(t.Context(), nil)
	sourcetest.Must(t, err)
	defer func() { sourcetest.Must(t, log.Close()) }()
	from, _ := log.Begin()
	sourcetest.Must(t, log.Confirm(from))
	sourcetest.Must(t, src.Arm(t.Context()))
	sourcetest.Must(t, src.Arm(t.Context()))

	done := make(chan error, 1)
	go func() {
		_, err := s.exec("INSERT INTO t VALUES (1)")
		done <- err
	}()
	waiting := func() bool {
		return s.ask("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "1"
	}
	eventually(t, waiting)
	var to stream.Position
	eventually(t, func() bool {
		_, to, err = log.Next(t.Context())
		sourcetest.Must(t, err)
		return s.ask("SELECT '"+wal.LSN(to).String()+"'::pg_lsn >= pg_current_wal_flush_lsn()") == "true"
	})
	// A backup receives log, too.
	v := sourcetest.NewVault(t)
	_, _ = v.Backup(t, src)
	select {
	case err := <-done:
		t.Fatalf("a commit that nobody has confirmed was acknowledged: %v", err)
	default:
	}
	if !waiting() {
		t.Fatal("the commit does not wait any more")
	}
	sourcetest.Must(t, log.Confirm(to))
	sourcetest.Must(t, <-done)

	disarmed(t, src)
	s.sql("INSERT INTO t VALUES (2)")

	s.sql("ALTER SYSTEM SET synchronous_standby_names = 'another'", "SELECT pg_reload_conf()")
	if err := src.Arm(t.Context()); err == nil || !strings.Contains(err.Error(), "synchronous standbys of its own") {
		t.Errorf("with another synchronous standby: %v", err)
	}
	if did, err := src.Disarm(t.Context()); err != nil || did {
		t.Errorf("with another synchronous standby: disarmed %v, %v", did, err)
	}
	if is := s.ask("SELECT current_setting('synchronous_standby_names')"); is != "another" {
		t.Errorf("synchronous_standby_names is %q", is)
	}
}

// TestCommitsWaitNoLongerWithoutSync: whoever takes it out of the configuration has them go on,
// and another value stays.
func TestCommitsWaitNoLongerWithoutSync(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	s.sql("CREATE TABLE t (n int)")
	open := func(sync bool) {
		t.Helper()
		log, err := s.source(func(cfg *Config) { cfg.Sync = sync }).OpenLog(t.Context(), nil)
		sourcetest.Must(t, err)
		sourcetest.Must(t, log.Close())
	}
	names := func(want string) func() bool {
		return func() bool { return s.ask("SELECT current_setting('synchronous_standby_names')") == want }
	}
	sourcetest.Must(t, s.source(func(cfg *Config) { cfg.Sync = true }).Arm(t.Context()))
	eventually(t, names("understudy_db"))
	open(true)
	if !names("understudy_db")() {
		t.Fatal("they wait no longer, though they are to")
	}
	open(false)
	eventually(t, names(""))
	s.sql("INSERT INTO t VALUES (1)")
	s.sql("ALTER SYSTEM SET synchronous_standby_names = 'another'", "SELECT pg_reload_conf()")
	eventually(t, names("another"))
	open(false)
	if !names("another")() {
		t.Error("the server has lost a synchronous standby of its own")
	}
}

// TestSyncSaysWhichRightIsMissing before it is needed.
func TestSyncSaysWhichRightIsMissing(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	s.sql("CREATE ROLE agent LOGIN REPLICATION", "GRANT pg_monitor TO agent")
	as := func(cfg *Config) {
		cfg.Sync = true
		cfg.URL = strings.Replace(cfg.URL, "postgres://postgres@", "postgres://agent@", 1)
	}
	err := s.source(as).Check(t.Context())
	const grant = "GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names TO \"agent\"; GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO \"agent\""
	if err == nil || !strings.Contains(err.Error(), grant) {
		t.Fatalf("%v", err)
	}
	s.sql(strings.Split(grant, "; ")...)
	src := s.source(as)
	sourcetest.Must(t, src.Check(t.Context()))
	sourcetest.Must(t, src.Arm(t.Context()))
	disarmed(t, src)
}

// disarmed has commits that wait, wait no longer.
func disarmed(t *testing.T, src *Source) {
	t.Helper()
	if did, err := src.Disarm(t.Context()); err != nil || !did {
		t.Fatalf("disarmed %v, %v", did, err)
	}
}

// TestCommitsThatAnEarlierProcessHadWaitGoOn: nobody receives the log any more, and another
// process ends their wait; it is told whether anything waited.
func TestCommitsThatAnEarlierProcessHadWaitGoOn(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	s.sql("CREATE TABLE t (n int)")
	synced := func() *Source { return s.source(func(cfg *Config) { cfg.Sync = true }) }
	if did, err := synced().Disarm(t.Context()); err != nil || did {
		t.Fatalf("nothing waits: disarmed %v, %v", did, err)
	}
	sourcetest.Must(t, synced().Arm(t.Context()))
	done := make(chan error, 1)
	go func() {
		_, err := s.exec("INSERT INTO t VALUES (1)")
		done <- err
	}()
	eventually(t, func() bool {
		return s.ask("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "1"
	})
	disarmed(t, synced())
	sourcetest.Must(t, <-done)
	s.sql("INSERT INTO t VALUES (2)")
}
