package e2e

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/e2e/server"
)

// serverUpgraded has pg_upgrade carry a server that is stopped over to a data folder that is
// made for it, as from one major version to the next.
func serverUpgraded(t *testing.T, pg *server.PostgresFolder) {
	t.Helper()
	before := filepath.Join(pg.Dir, "before")
	ran(t, pg, "mv", pg.Data(), before)
	pg.Make(t)
	ran(t, pg, pg.Program("pg_upgrade"), "-b", filepath.Dir(pg.Program("postgres")), "-d", before, "-D", pg.Data(), "-U", "postgres", "-s", pg.Dir, "--no-sync")
	for _, file := range []string{"postgresql.conf", "pg_hba.conf"} {
		ran(t, pg, "cp", filepath.Join(before, file), pg.Data())
	}
	ran(t, pg, "rm", "-rf", before)
}

// TestAServerThatIsUpgradedBeginsAnew, by the documented way: the active's agent and its server
// are stopped, pg_upgrade makes another server of it, and both are started. That is told. A
// new stream begins with a new base, the standby rehearses it, and takes over.
func TestAServerThatIsUpgradedBeginsAnew(t *testing.T) {
	t.Parallel()
	p := newServers(t, serverSetup{}, "host-a", "host-b")
	pg, dsn := p.on[p.a], p.on[p.a].DSN("postgres")
	var d diary
	end := d.write(t, dsn)
	d.grows(t, 50)
	p.b.follows()
	end()
	before := p.a.ships()
	was := answer(t, dsn, "SELECT system_identifier FROM pg_control_system()")

	p.a.stopAgent()
	pg.Stop(t)
	serverUpgraded(t, pg)
	pg.Start(t)
	is := answer(t, dsn, "SELECT system_identifier FROM pg_control_system()")
	p.a.serve()
	begun := time.Now()
	p.a.said("level=ERROR", "the log of db has a gap", "the server is another one: its system identifier is "+is+", and was "+was)
	if lost, _ := d.goesOn(t, dsn, time.Now()); lost > 0 {
		t.Errorf("the upgrade has lost %d rows", lost)
	}
	end = d.write(t, dsn)
	if s := p.a.ships(); s.Stream == before.Stream {
		t.Errorf("it goes on in stream %s", s.Stream)
	}
	t.Logf("everything can be restored again %v after the agent's start", time.Since(begun).Round(time.Millisecond))
	p.a.said("a new base was made, because the server is another one")
	d.grows(t, 50)
	p.takesOver(&d, end)
	if got := answer(t, p.on[p.b].DSN("postgres"), "SELECT system_identifier FROM pg_control_system()"); got != is {
		t.Errorf("the successor is server %s, and not %s", got, is)
	}
	p.a.settles() // and back
	end = d.write(t, p.on[p.b].DSN("postgres"))
	d.grows(t, 50)
	p.a, p.b = p.b, p.a
	p.takesOver(&d, end)
}
