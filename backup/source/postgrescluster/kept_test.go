package postgrescluster

import (
	"errors"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// TestAServerSaysWhatItKeeps for the agent, up to where it keeps it no longer.
func TestAServerSaysWhatItKeeps(t *testing.T) {
	t.Parallel()
	const segment, bound = 16 << 20, 64 << 20
	s := newTestServer(t, "max_slot_wal_keep_size = 64MB", "min_wal_size = 32MB", "max_wal_size = 32MB")
	s.sql("CREATE TABLE t (n int)")
	src := s.source(func(cfg *Config) { cfg.BaseEvery = time.Hour })
	kept := func(newest *source.Entry) source.Kept {
		t.Helper()
		k, err := src.Kept(t.Context(), newest)
		sourcetest.Must(t, err)
		return k
	}
	if k := kept(nil); k.Bytes != 0 || k.Room < bound || k.Lost || k.Unpacked >= 0 || !k.BaseDue.IsZero() {
		t.Errorf("before a backup: %+v", k)
	}
	v := sourcetest.NewVault(t)
	e, _ := v.Backup(t, src)
	facts, err := factsOf(e)
	sourcetest.Must(t, err)
	fresh := kept(&e)
	if !fresh.BaseDue.Equal(facts.BaseTime.Add(time.Hour)) || fresh.Unpacked < 0 || fresh.Unpacked >= segment || fresh.Room > 2*bound {
		t.Errorf("after a backup: %+v", fresh)
	}
	grow := func() { s.sql("INSERT INTO t VALUES (1)", "SELECT pg_switch_wal()", "INSERT INTO t VALUES (1)") }
	grow()
	grow()
	if k := kept(&e); k.Lost || k.Unpacked-fresh.Unpacked < segment || k.Bytes-fresh.Bytes != k.Unpacked-fresh.Unpacked || k.Room >= fresh.Room {
		t.Errorf("two segments later: %+v; was %+v", k, fresh)
	}
	for range 6 {
		grow()
	}
	if k := kept(&e); !k.Lost {
		t.Errorf("the bound is reached: %+v", k)
	}
	s.sql("CHECKPOINT")
	if k := kept(&e); !k.Lost {
		t.Errorf("the log is gone: %+v", k)
	}
	e, _ = v.Backup(t, src)
	if k := kept(&e); k.Lost || k.Unpacked >= segment {
		t.Errorf("after another base: %+v", k)
	}
}

// TestAServerSaysWhetherCommitsWait, whoever has it otherwise.
func TestAServerSaysWhetherCommitsWait(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	src := s.source(func(cfg *Config) { cfg.Sync = true })
	waits := func() bool {
		k, err := src.Kept(t.Context(), nil)
		if err == nil && !k.Synced {
			err = errors.New("they are to wait, and it does not say so")
		}
		sourcetest.Must(t, err)
		return k.Waits
	}
	if waits() {
		t.Error("nobody has had them wait yet")
	}
	sourcetest.Must(t, src.Arm(t.Context()))
	eventually(t, waits)
	s.sql("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
	eventually(t, func() bool { return !waits() })
}

// TestAReplicaThatHasPausedSaysSo, and goes on.
func TestAReplicaThatHasPausedSaysSo(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.follow(t)
	p.a.sql("INSERT INTO ledger VALUES (1)")
	p.log.reaches(p.a)
	applied := func() (is source.Applied, ok bool) {
		is, err := p.to.Applied(t.Context())
		return is, err == nil
	}
	eventually(t, func() bool { is, ok := applied(); return ok && !is.Paused })
	_, err := askReplica(t, p.to, "SELECT pg_wal_replay_pause()")
	sourcetest.Must(t, err)
	if is, ok := applied(); !ok || !is.Paused {
		t.Errorf("it has paused: %+v, %t", is, ok)
	}
	p.a.sql("INSERT INTO ledger VALUES (2)")
	p.log.reaches(p.a)
	eventually(t, func() bool {
		rows, err := askReplica(t, p.to, "SELECT count(*) FROM ledger")
		return err == nil && rows == "2"
	})
	if is, ok := applied(); !ok || is.Paused {
		t.Errorf("it goes on: %+v, %t", is, ok)
	}
}
