package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/understudy-ha/understudy/e2e/server"
)

// serverCopy copies the data folder of a server that is stopped.
func serverCopy(t *testing.T, pg *server.PostgresFolder) (to string) {
	t.Helper()
	to = filepath.Join(pg.Dir, "snapshot")
	ran(t, pg, "cp", "-a", pg.Data(), to)
	return to
}

// serverPutBack puts a copy into the place of the data folder of a server that is stopped.
func serverPutBack(t *testing.T, pg *server.PostgresFolder, from string) {
	t.Helper()
	ran(t, pg, "rm", "-rf", pg.Data())
	ran(t, pg, "cp", "-a", from, pg.Data())
}

// ran runs a command as the server's user.
func ran(t *testing.T, pg *server.PostgresFolder, name string, args ...string) {
	t.Helper()
	if out, err := pg.AsOwner(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// TestAServerThatIsPutBackBeginsAnew: while the agent is down, an earlier copy of the server's
// data folder is put back. It may have gone on since, further than the log that was shipped.
// That is told. A new stream begins with a new base, and the replica has nothing of what was
// written before.
func TestAServerThatIsPutBackBeginsAnew(t *testing.T) {
	t.Parallel()
	for what, then := range map[string]struct {
		told string
		more func(t *testing.T, d *diary, dsn, far string)
	}{
		"and is behind": {told: "it was rolled back to an earlier state", more: func(*testing.T, *diary, string, string) {}},
		"and has gone on": {told: "another log", more: func(t *testing.T, d *diary, dsn, far string) {
			end := d.write(t, dsn)
			defer end()
			d.grows(t, 50)
			for n := 0; answer(t, dsn, fmt.Sprintf("SELECT pg_current_wal_flush_lsn() < '%s'", far)) == "true"; n++ {
				execute(t, dsn, fmt.Sprintf("CREATE TABLE other_%d AS SELECT generate_series(1, 10000)", n))
			}
		}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := newServers(t, serverSetup{}, "host-a", "host-b")
			pg, dsn := p.on[p.a], p.on[p.a].DSN("postgres")
			var d diary
			end := d.write(t, dsn)
			d.grows(t, 50)
			end()
			p.a.killAgent()
			pg.Stop(t)
			snapshot := serverCopy(t, pg)
			pg.Start(t)
			p.a.serve()
			lost := diary{sent: slices.Clone(d.sent), acked: slices.Clone(d.acked)}
			end = lost.write(t, dsn)
			lost.grows(t, 200)
			p.a.run("backup")
			lost.grows(t, 50)
			end()
			before := p.a.ships()
			p.b.follows()
			far := answer(t, dsn, "SELECT pg_current_wal_flush_lsn()")

			p.a.killAgent()
			pg.Stop(t)
			serverPutBack(t, pg, snapshot)
			pg.Start(t)
			then.more(t, &d, dsn, far)
			p.a.serve()
			p.a.said("level=ERROR", then.told)
			if s := p.a.ships(); s.Stream == before.Stream {
				t.Errorf("it goes on in stream %s", s.Stream)
			}
			end = d.write(t, dsn)
			d.grows(t, 50)
			p.takesOver(&d, end)
		})
	}
}
