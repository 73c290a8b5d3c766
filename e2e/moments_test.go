package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha/moments"
)

// recordsTimes has a server record when each transaction has committed.
func recordsTimes(t *testing.T) func(*server.PostgresFolder) {
	return func(pg *server.PostgresFolder) {
		execute(t, pg.DSN("postgres"), "ALTER SYSTEM SET track_commit_timestamp = on")
		pg.Stop(t)
		pg.Start(t)
	}
}

// committed is when a row was, as its server says.
func (p *serverPair) committed(row int) time.Time {
	p.t.Helper()
	text := answer(p.t, p.on[p.a].DSN("postgres"), fmt.Sprintf("SELECT to_char(pg_xact_commit_timestamp(xmin) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM diary WHERE row = %d", row))
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		p.t.Fatal(err)
	}
	return at
}

// windows are those of the one source.
func (p *serverPair) windows() moments.Source {
	p.t.Helper()
	all := query[[]moments.Source](p.a, "backups", "--windows")
	if len(all) != 1 || all[0].Name != "db" || len(all[0].Windows) == 0 {
		p.t.Fatalf("windows: %+v", all)
	}
	return all[0]
}

// restored is what restore says of a moment.
type restored struct {
	Entries []struct {
		Reached source.Reached `json:"reached"`
	} `json:"entries"`
}

// TestAMomentIsRestoredByTheCommandLine: one in the log that was shipped beyond the newest
// backup, to the row. One in a gap, one that is too old and one that is yet to come are
// refused, and nothing is written.
func TestAMomentIsRestoredByTheCommandLine(t *testing.T) {
	t.Parallel()
	p := newServers(t, serverSetup{fill: recordsTimes(t)}, "host-a")
	pg := p.on[p.a]
	dsn := pg.DSN("postgres")
	var d diary
	end := d.write(t, dsn)
	d.grows(t, 50)
	p.a.run("backup")
	d.grows(t, 100)
	row := d.rows() - 50
	first := p.a.ships()
	is := p.windows()
	if w := is.Windows[0]; len(is.Windows) != 1 || len(is.Gaps) > 0 || len(w.Streams) != 1 || w.Streams[0].String() != first.Stream {
		t.Errorf("windows: %+v", is)
	}
	until, out := p.committed(row), p.a.path("moment")
	said := query[restored](p.a, "restore", "--time", until.In(time.FixedZone("", 5400)).Format(time.RFC3339Nano), "--to", out)
	if r := said.Entries[0].Reached; r.Last == nil || !r.Last.Equal(until) || r.Later == nil || !r.Later.Equal(p.committed(row+1)) {
		t.Errorf("reached: %+v, and not row %d of %s", r, row, until)
	}

	p.losesItsLog(&d, first.Stream)
	is = p.windows()
	if len(is.Windows) != 2 || len(is.Gaps) != 1 {
		t.Fatalf("windows: %+v", is)
	}
	if text := p.a.run("backups", "--windows"); !strings.Contains(text, "a gap: no moment in it can be reached") {
		t.Errorf("the gap is not shown:\n%s", text)
	}
	gap := is.Gaps[0]
	for why, at := range map[string]time.Time{
		"in the gap": gap.From.Add(gap.To.Sub(gap.From) / 2), "too old": is.Windows[0].Since.Add(-time.Hour), "too new": time.Now().Add(time.Hour),
	} {
		none := p.a.path(strings.ReplaceAll(why, " ", "-"))
		p.a.fails(3, "it can be to any moment from "+moments.Stamp(is.Windows[0].Since, true), "restore", "--time", at.Format(time.RFC3339Nano), "--to", none)
		if _, err := os.Stat(none); !os.IsNotExist(err) {
			t.Errorf("%s: %s is there: %v", why, none, err)
		}
	}
	for _, text := range []string{"2026-03-01 12:00", "2026-03-01T12:00:00", "noon", "1772366400"} {
		p.a.fails(2, "is no moment like", "restore", "--time", text, "--to", p.a.path("none"))
	}
	p.a.fails(2, "leave ID and --as-of out", "restore", "latest", "--time", "2026-03-01T12:00:00Z", "--to", p.a.path("none"))

	end()
	p.a.stopAgent()
	pg.Stop(t)
	p.is(out, d.sent[:row])
}

// TestAMomentBeforeANewBaseIsRestored: a base is replaced as it is old, and all parts of the
// stream have expired by then. The backups alone have every moment.
func TestAMomentBeforeANewBaseIsRestored(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "bucket")
	c := newCluster(t, "file://"+folder, nil)
	p := newServers(t, serverSetup{cluster: c, more: ", base_every: 1s", fill: recordsTimes(t)}, "host-a")
	pg := p.on[p.a]
	dsn := pg.DSN("postgres")
	var d diary
	end := d.write(t, dsn)
	d.grows(t, 100)
	row := d.rows() - 50
	until := p.committed(row)
	p.a.eventually("a base is newer than the moment", func() error {
		execute(t, dsn, "CHECKPOINT") // little is left for that of the next base, which takes its time
		p.a.runLong("backup")
		is := p.windows()
		if last := is.Windows[len(is.Windows)-1]; !until.Before(last.Since) {
			return fmt.Errorf("row %d is of %s; windows: %+v", row, until, is)
		}
		return nil
	})
	end()
	p.a.stopAgent()
	if err := os.RemoveAll(filepath.Join(folder, "streams")); err != nil {
		t.Fatal(err)
	}
	if is := p.windows(); len(is.Windows) < 2 || len(is.Gaps) > 0 || until.Before(is.Windows[0].Until) && is.Windows[0].Next == "" {
		t.Fatalf("row %d is of %s; windows: %+v", row, until, is)
	}
	out := p.a.path("moment")
	said := query[restored](p.a, "restore", "--time", until.Format(time.RFC3339Nano), "--to", out)
	if r := said.Entries[0].Reached; r.Last == nil || !r.Last.Equal(until) || r.Later == nil || !r.Later.Equal(p.committed(row+1)) {
		t.Errorf("reached: %+v, and not row %d of %s", r, row, until)
	}
	pg.Stop(t)
	p.is(out, d.sent[:row])
}

// losesItsLog has the server's log deleted before it was shipped: a new stream begins, with a
// new base.
func (p *serverPair) losesItsLog(d *diary, before string) {
	p.t.Helper()
	dsn := p.on[p.a].DSN("postgres")
	p.a.killAgent()
	p.dropsSlots(dsn)
	for range 4 {
		d.grows(p.t, 20)
		execute(p.t, dsn, "SELECT pg_switch_wal()")
		execute(p.t, dsn, "CHECKPOINT")
	}
	p.a.serve()
	if s := p.a.ships(); s.Stream == before {
		p.t.Fatalf("it goes on in stream %s", s.Stream)
	}
}

// is starts a server on a data folder that was restored, in the place of the one that was
// there, and compares it with the first rows.
func (p *serverPair) is(restored string, want []string) {
	p.t.Helper()
	pg := p.on[p.a]
	if err := os.RemoveAll(pg.Data()); err != nil {
		p.t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", filepath.Join(restored, "db"), pg.Data()).CombinedOutput(); err != nil {
		p.t.Fatalf("%v\n%s", err, out)
	}
	pg.Start(p.t)
	if got := diaryOf(p.t, pg.DSN("postgres")); !slices.Equal(got, want) {
		p.t.Errorf("there are %d rows, and not the first %d", len(got), len(want))
	}
}
