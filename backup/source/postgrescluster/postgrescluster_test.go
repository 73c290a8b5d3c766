package postgrescluster

import (
	"os"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// TestAServerIsRestoredRowForRow backs a server up while it works, more than once, and
// puts that into the place of another one: every row is there.
func TestAServerIsRestoredRowForRow(t *testing.T) {
	t.Parallel()
	a, b := newTestServer(t), newTestServer(t)
	b.stop()
	sourcetest.Must(t, os.RemoveAll(b.data))
	b.initdb(b.data) // another server, by its system identifier
	b.start()
	a.bench(5)
	a.sql("CREATE UNLOGGED TABLE of_a_moment (n int)", "INSERT INTO of_a_moment VALUES (1)")
	from, to := a.source(nil), b.source(nil)
	sourcetest.Must(t, from.Check(t.Context()))
	sourcetest.Must(t, to.CheckRestore(t.Context()))

	v := sourcetest.NewVault(t)
	end := a.pgbench("-c", "2", "-T", "60")
	first, _ := v.Backup(t, from)
	second, _ := v.Backup(t, from)
	end()
	third, stats := v.Backup(t, from)
	if !first.Root.Equal(second.Root) || !first.Root.Equal(third.Root) {
		t.Error("each backup has a base of its own")
	}
	t.Logf("the third backup has %d new bytes; log: %d", stats.New, third.Size)
	if len(third.Warnings) != 1 || !strings.Contains(third.Warnings[0], "of_a_moment") {
		t.Errorf("warnings: %q", third.Warnings)
	}
	again, stats := v.Backup(t, from)
	if stats.New > 64<<10 {
		t.Errorf("nothing has changed, and %d bytes are new", stats.New)
	}
	want := a.rows()
	system := a.ask("SELECT system_identifier FROM pg_control_system()")

	b.place(to, v, again, 2)
	if got := b.rows(); got != want {
		t.Errorf("rows: %s instead of %s", got, want)
	}
	if got := b.ask("SELECT system_identifier FROM pg_control_system()"); got != system {
		t.Errorf("system %s instead of %s", got, system)
	}
	if got := b.ask("SELECT count(*) FROM of_a_moment"); got != "0" {
		t.Errorf("the unlogged table has %s rows", got)
	}
	b.sql("INSERT INTO pgbench_history (tid) VALUES (-1)")
	sourcetest.Must(t, to.Start(t.Context(), 2)) // again
	sourcetest.Must(t, to.Discard(t.Context()))
	sourcetest.MustSweep(t, to)
	checkPages(t, b)
}

// checkPages has PostgreSQL look at the checksum of every page.
func checkPages(t *testing.T, s *testServer) {
	t.Helper()
	s.stop()
	s.run(s.bin+"/pg_checksums", "-c", "-D", s.data)
}
