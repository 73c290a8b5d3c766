package postgrescluster

import (
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// Who leaves has left nothing in the server: no slot, for which it would keep its log for
// ever, and no commit that waits. What is somebody else's stays.
func TestWhoLeavesIsForgotten(t *testing.T) {
	t.Parallel()
	for what, runs := range map[string]bool{"a server that runs": true, "one that does not": false} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newTestServer(t)
			s.sql("CREATE TABLE t (n int)", "SELECT pg_create_physical_replication_slot('theirs', true)", "ALTER SYSTEM SET work_mem = '5MB'")
			src := s.source(func(cfg *Config) { cfg.Sync = true })
			_, _ = sourcetest.NewVault(t).Backup(t, src)
			log, err := src.OpenLog(t.Context(), nil)
			sourcetest.Must(t, err)
			sourcetest.Must(t, src.Arm(t.Context()))
			sourcetest.Must(t, log.Close())
			slots := func() string {
				return s.ask("SELECT coalesce(string_agg(slot_name, ' ' ORDER BY slot_name), '') FROM pg_replication_slots")
			}
			if all := slots(); all != "theirs understudy_db understudy_db_backup" {
				t.Fatalf("slots %q", all)
			}
			eventually(t, func() bool {
				return s.ask("SELECT count(*) FROM pg_replication_slots WHERE active") == "0" // the receiver has gone
			})
			if !runs {
				s.stop()
			}
			for range 2 { // it may be repeated
				sourcetest.Must(t, src.Leave(t.Context()))
			}
			if !runs {
				s.start()
			}
			if all := slots(); all != "theirs" {
				t.Errorf("slots %q are left", all)
			}
			if is := s.ask("SELECT string_agg(name || setting, ' ' ORDER BY name) FROM pg_file_settings WHERE sourcefile LIKE '%auto.conf'"); is != "work_mem5MB" {
				t.Errorf("settings %q are left", is)
			}
			s.sql("INSERT INTO t VALUES (1)") // which waits for nobody
		})
	}
}

// Another server's slots are somebody else's, though they have the same names.
func TestWhoLeavesLeavesAnotherServerAlone(t *testing.T) {
	t.Parallel()
	own, other := newTestServer(t), newTestServer(t)
	other.sql("SELECT pg_create_physical_replication_slot('understudy_db', true)")
	src := own.source(func(cfg *Config) { cfg.URL = other.url() })
	if err := src.Leave(t.Context()); err == nil || !strings.Contains(err.Error(), "not in data_dir") {
		t.Error(err)
	}
	if n := other.ask("SELECT count(*) FROM pg_replication_slots"); n != "1" {
		t.Errorf("%s slots are left", n)
	}
}

// A host that never had a server has nothing to forget.
func TestWhoLeavesMayHaveNoServer(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	src := s.source(func(cfg *Config) { cfg.DataDir = t.TempDir() + "/none" })
	sourcetest.Must(t, src.Leave(t.Context()))
}
