package postgrescluster

import (
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// TestServersWriteWhatTheyHold: the one that is backed up, and the one on the stage.
func TestServersWriteWhatTheyHold(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.follow(t)
	p.a.sql("INSERT INTO ledger SELECT generate_series(1, 1000)")
	at := p.a.ask("SELECT checkpoint_lsn FROM pg_control_checkpoint()")
	sourcetest.Must(t, p.from.Checkpoint(t.Context()))
	if p.a.ask("SELECT checkpoint_lsn FROM pg_control_checkpoint()") == at {
		t.Error("the active's server has made no checkpoint")
	}
	p.log.reaches(p.a)
	want := p.a.ask("SELECT redo_lsn FROM pg_control_checkpoint()")
	eventually(t, func() bool { // the checkpoint's record has to be replayed before
		if p.to.Checkpoint(t.Context()) != nil { // it has only just begun
			return false
		}
		got, err := askReplica(t, p.to, "SELECT redo_lsn FROM pg_control_checkpoint()")
		return err == nil && got == want
	})

	p.a.stop()
	sourcetest.Must(t, p.from.Checkpoint(t.Context())) // none runs
	p.a.start()
	p.a.sql("CREATE ROLE app LOGIN REPLICATION", "GRANT pg_monitor TO app")
	sourcetest.MustFail(t, p.a.source(p.a.role("app")).Checkpoint(t.Context()), `GRANT pg_checkpoint TO "app"`)
	p.a.sql("GRANT pg_checkpoint TO app")
	sourcetest.Must(t, p.a.source(p.a.role("app")).Checkpoint(t.Context()))
}
