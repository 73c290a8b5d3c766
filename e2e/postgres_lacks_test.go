package e2e

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha/report"
)

// TestJoinSaysWhatTheServerLacks: the server of a blank standby has not got a
// collation that the database uses.
func TestJoinSaysWhatTheServerLacks(t *testing.T) {
	t.Parallel()
	one, two := server.Postgres(t), server.Postgres(t)
	execute(t, one.DSN("postgres"), "CREATE DATABASE app")
	execute(t, one.DSN("app"), `SET allow_system_table_mods TO on; CREATE COLLATION pg_catalog."sv_SE" (provider = icu, locale = 'sv');
		CREATE TABLE t (name text COLLATE pg_catalog."sv_SE")`)
	c := newCluster(t, "file://"+filepath.Join(t.TempDir(), "bucket"), nil)
	a, b := c.host("host-a", &databaseApp{pg: one}), c.host("host-b", &databaseApp{pg: two})
	a.run("init")
	a.serve()
	a.run("backup")
	const why = "does not have collations that the database uses (sv_SE)"
	if out := b.run("join"); !strings.Contains(out, "cannot take over yet") || !strings.Contains(out, why) {
		t.Errorf("join: %s", out)
	}
	b.serve()
	b.eventually("says why", func() error {
		if s := query[report.Status](b, "status"); !strings.Contains(strings.Join(s.Blockers, "\n"), why) {
			return errors.New(strings.Join(s.Blockers, "\n"))
		}
		return nil
	})
	if r := b.try("promote", "--yes"); r.code == 0 || !strings.Contains(r.out+r.errout, why) {
		t.Errorf("promote: exit %d: %s%s", r.code, r.out, r.errout)
	}
}
