package postgrescluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func (s *testServer) timeline() string {
	s.t.Helper()
	return s.ask("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")
}

// TestEachEpochHasATimelineOfItsOwn: also where a host knows nothing of an epoch of
// another one, which was lost.
func TestEachEpochHasATimelineOfItsOwn(t *testing.T) {
	t.Parallel()
	a, b, c := newTestServer(t), newTestServer(t), newTestServer(t)
	from, v := a.source(nil), sourcetest.NewVault(t)
	sourcetest.Must(t, from.Start(t.Context(), 7))
	a.sql("CREATE TABLE t AS SELECT 1 AS n")
	e, _ := v.Backup(t, from)
	one := b.source(nil)
	b.place(one, v, e, 8)
	if got := b.timeline(); got != "00000002" {
		t.Errorf("epoch 8: timeline %s", got)
	}
	// Epochs 9 and 10 were of hosts of which nobody knows any more.
	two := c.source(nil)
	c.place(two, v, e, 11)
	if got := c.timeline(); got != "00000005" {
		t.Errorf("epoch 11: timeline %s", got)
	}
	left, err := filepath.Glob(filepath.Join(c.data, "pg_wal", "*.history"))
	sourcetest.Must(t, err)
	if len(left) != 1 || filepath.Base(left[0]) != "00000005.history" {
		t.Errorf("histories left: %v", left)
	}
	// It goes on from there: a backup, and the next epoch.
	next, _ := v.Backup(t, two)
	b.place(one, v, next, 12)
	if got := b.timeline(); got != "00000006" {
		t.Errorf("epoch 12: timeline %s", got)
	}
	b.stop()
	b.start() // nothing that was left keeps it from that
	if got := b.ask("SELECT n FROM t"); got != "1" {
		t.Errorf("row %s", got)
	}
}

// TestAPromotionThatWasCutOffEnds: with the timeline that it was to have.
func TestAPromotionThatWasCutOffEnds(t *testing.T) {
	t.Parallel()
	a, b := newTestServer(t), newTestServer(t)
	from, v := a.source(nil), sourcetest.NewVault(t)
	sourcetest.Must(t, from.Start(t.Context(), 1))
	e, _ := v.Backup(t, from)
	to := b.source(nil)
	v.Stage(t, to, e)
	sourcetest.Must(t, to.Swap(t.Context()))
	// An earlier process has left stubs, and the history that it had begun.
	for n, text := range map[int]string{2: "1\t0/1\tunderstudy\n", 3: "1\t0/1\tunderstudy\n", 4: "1\t0/1\tno recovery target specified\n"} {
		b.run("sh", "-c", `printf %s "$1" >"$2"`, "sh", text, filepath.Join(b.data, "pg_wal", fmt.Sprintf("%08X.history", n)))
	}
	sourcetest.Must(t, to.Start(t.Context(), 4))
	if got := b.timeline(); got != "00000004" {
		t.Errorf("timeline %s", got)
	}
}

// TestStopAndStartMayBeRepeated, also when the server was killed, or started as a standby
// by somebody else.
func TestStopAndStartMayBeRepeated(t *testing.T) {
	t.Parallel()
	a, b := newTestServer(t), newTestServer(t)
	src, v := a.source(nil), sourcetest.NewVault(t)
	ctx := t.Context()
	sourcetest.Must(t, src.Start(ctx, 1))
	sourcetest.Must(t, src.Stop(ctx))
	sourcetest.Must(t, src.Stop(ctx))
	sourcetest.Must(t, src.Start(ctx, 1))
	a.kill()
	sourcetest.Must(t, src.Stop(ctx))
	sourcetest.Must(t, src.Start(ctx, 1))
	a.sql("CREATE TABLE t AS SELECT 1 AS n")
	e, _ := v.Backup(t, src)

	to := b.source(nil)
	v.Stage(t, to, e)
	sourcetest.Must(t, to.Swap(ctx))
	b.start() // a machine that was started again would do that
	if b.ask("SELECT pg_is_in_recovery()") != "true" {
		t.Error("a server that was not promoted takes writes")
	}
	sourcetest.Must(t, to.Start(ctx, 2))
	b.sql("INSERT INTO t VALUES (2)")

	broken := b.source(func(c *Config) { c.Stop = []string{"sh", "-c", "echo no such unit; exit 5"} })
	sourcetest.MustFail(t, broken.Stop(ctx), "no such unit")
	lying := b.source(func(c *Config) { c.Stop = []string{"true"} })
	sourcetest.MustFail(t, lying.Stop(ctx), "stop has succeeded, and the server still runs")
	gone := b.source(func(c *Config) { c.DataDir = filepath.Join(b.dir, "none") })
	sourcetest.MustFail(t, gone.Start(ctx, 2), "is missing: restore it")
}

// TestAnExportStarts: on another host, by itself. Its commits wait for nobody, though those
// of the server did that was backed up.
func TestAnExportStarts(t *testing.T) {
	t.Parallel()
	a := newTestServer(t)
	a.bench(1)
	a.sql("ALTER SYSTEM SET work_mem = '5MB'", "ALTER SYSTEM SET synchronous_standby_names = 'understudy_db'") // not in force yet
	src, v := a.source(nil), sourcetest.NewVault(t)
	v.Backup(t, src)
	a.sql("UPDATE pgbench_tellers SET tbalance = 17")
	e, _ := v.Backup(t, src)
	want := a.rows()
	a.stop()
	out := filepath.Join(a.dir, "exported")
	sourcetest.Must(t, source.Export(t.Context(), v.Reader(), e, out))
	a.data = out
	a.start()
	if got := a.rows(); got != want {
		t.Errorf("rows: %s instead of %s", got, want)
	}
	if is := a.ask("SELECT current_setting('synchronous_standby_names') || current_setting('work_mem')"); is != "5MB" {
		t.Errorf("of what ALTER SYSTEM had set there is %q", is)
	}
}

// TestABackupThatDoesNotFitIsRefused before anything is touched.
func TestABackupThatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()
	a := newTestServer(t)
	src, v := a.source(nil), sourcetest.NewVault(t)
	e, _ := v.Backup(t, src)
	for why, change := range map[string][2]string{
		"no other version can read":     {`"major":15`, `"major":99`},
		"which a server on":             {`"machine":"`, `"machine":"other-`},
		"its facts are not whole":       {`"segment_size":`, `"segment_was":`},
		"the log of the backup ends at": {`"to":"0/`, `"to":"1/`},
		"and not of 1":                  {`"system_id":"` + fmt.Sprint(factsIn(t, e).System), `"system_id":"1`},
	} {
		bad := e
		bad.Facts = []byte(strings.Replace(string(e.Facts), change[0], change[1], 1))
		if err := src.Stage(t.Context(), v.Reader(), bad); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(why, "which a server on")) {
			t.Errorf("%s: %v", why, err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(a.dir, ".data.understudy-stag*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	wrong := e
	wrong.Kind = "directory"
	sourcetest.MustFail(t, src.Accept(t.Context(), wrong), "it is a directory, not a postgres_cluster")
}

func factsIn(t *testing.T, e source.Entry) Facts {
	t.Helper()
	f, err := factsOf(e)
	sourcetest.Must(t, err)
	return f
}

// TestAStageTellsThatSomebodyWroteToIt: a server that was started on it as a primary.
func TestAStageTellsThatSomebodyWroteToIt(t *testing.T) {
	t.Parallel()
	a := newTestServer(t)
	src, v := a.source(nil), sourcetest.NewVault(t)
	e, _ := v.Backup(t, src)
	print, err := src.Fingerprint(t.Context())
	if print != "" || err != nil {
		t.Errorf("nothing is staged: %q, %v", print, err)
	}
	v.Stage(t, src, e)
	print, err = src.Fingerprint(t.Context())
	sourcetest.Must(t, err)
	again, err := src.Fingerprint(t.Context())
	if print == "" || err != nil || again != print {
		t.Errorf("staged: %q, %q, %v", print, again, err)
	}
	a.stop()
	a.data = src.Staged()
	sourcetest.Must(t, os.Remove(filepath.Join(a.data, standbySignal)))
	a.start()
	a.sql("CREATE TABLE of_somebody (n int)")
	a.stop()
	if after, err := src.Fingerprint(t.Context()); err != nil || after == print {
		t.Errorf("written to: %q, %v", after, err)
	}
}

// A server that runs is named, whoever has started it: on a standby nobody ships, nor backs
// up, what it takes.
func TestAServerThatRunsIsNamed(t *testing.T) {
	t.Parallel()
	a := newTestServer(t)
	s := a.source(nil)
	if who, err := s.Sessions(t.Context()); err != nil || len(who) != 1 || !strings.Contains(who[0], "the server of source "+s.Name()) {
		t.Errorf("it runs: %q, %v", who, err)
	}
	a.stop()
	if who, err := s.Sessions(t.Context()); err != nil || len(who) != 0 {
		t.Errorf("it was stopped: %q, %v", who, err)
	}
}
