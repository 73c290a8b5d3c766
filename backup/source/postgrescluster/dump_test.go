package postgrescluster

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// warned makes a backup, which has a new base, and says why.
func warned(t *testing.T, v *sourcetest.Vault, src *Source, why string) source.Entry {
	t.Helper()
	before := v.Prev.Entry
	e, _ := v.Backup(t, src)
	if e.Root.Equal(before.Root) {
		t.Errorf("%s: the base is the one before", why)
	}
	if !slices.ContainsFunc(e.Warnings, func(w string) bool { return strings.Contains(w, why) }) {
		t.Errorf("warnings: %q, and not %q", e.Warnings, why)
	}
	if again, _ := v.Backup(t, src); !again.Root.Equal(e.Root) || len(again.Warnings) > 0 {
		t.Errorf("%s: the next backup has the warnings %q", why, again.Warnings)
	}
	return e
}

func TestANewBaseIsMadeWhereTheLogDoesNotGoOn(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, "max_slot_wal_keep_size = 64MB", "wal_keep_size = 0", "max_wal_size = 32MB", "min_wal_size = 32MB")
	src, v := s.source(nil), sourcetest.NewVault(t)
	v.Backup(t, src)

	s.sql("SELECT pg_drop_replication_slot('understudy_db_backup')")
	warned(t, v, src, "replication slot understudy_db_backup was dropped")

	// The application writes more than the server may keep.
	for range 10 {
		s.sql("CREATE TABLE large AS SELECT i, repeat('x', 900) FROM generate_series(1, 20000) i", "DROP TABLE large", "SELECT pg_switch_wal()", "CHECKPOINT")
	}
	warned(t, v, src, "replication slot understudy_db_backup is lost")

	s.sql("CREATE TABLE t AS SELECT 1", "SELECT pg_replication_slot_advance('understudy_db_backup', pg_current_wal_flush_lsn())")
	warned(t, v, src, "by somebody else: let one agent alone work on a server")

	later := s.source(func(c *Config) { c.Now = func() time.Time { return time.Now().Add(25 * time.Hour) } })
	before := v.Prev.Entry
	if e, _ := v.Backup(t, later); e.Root.Equal(before.Root) || len(e.Warnings) > 0 {
		t.Errorf("a day later: same base %t, warnings %q", e.Root.Equal(before.Root), e.Warnings)
	}
	src.dumper.minLog = 1
	s.sql("CREATE TABLE larger AS SELECT i, repeat('x', 900) FROM generate_series(1, 40000) i")
	before = v.Prev.Entry
	v.Backup(t, src)
	if e, _ := v.Backup(t, src); e.Root.Equal(before.Root) {
		t.Error("the log is longer than the base, and there is no new base")
	}
}

// TestALogThatEndsInAFreshSegmentGoesOn: a base switches to the next segment. On a quiet server
// the page before the log's end lies in the segment before that, which the server is to keep.
func TestALogThatEndsInAFreshSegmentGoesOn(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, "wal_keep_size = 0", "max_wal_size = 32MB", "min_wal_size = 32MB")
	src, v := s.source(nil), sourcetest.NewVault(t)
	base, _ := v.Backup(t, src)
	if in := uint64(factsIn(t, base).To) % factsIn(t, base).Segment; in >= tail {
		t.Fatalf("the log ends %d bytes into a segment", in)
	}
	for range 3 {
		s.sql("CHECKPOINT")
		e, _ := v.Backup(t, src)
		if !e.Root.Equal(base.Root) || len(e.Warnings) > 0 {
			t.Errorf("same base %t, warnings %q", e.Root.Equal(base.Root), e.Warnings)
		}
	}
}

// TestABaseThatIsWaitedForIsMadeAtOnce: where the log does not go on, nothing that is written
// can be restored until the new base is there.
func TestABaseThatIsWaitedForIsMadeAtOnce(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, "log_checkpoints = on", "checkpoint_timeout = 1h")
	src, v := s.source(nil), sourcetest.NewVault(t)
	src.dumper.fast = false
	v.Backup(t, src)
	s.sql("CREATE TABLE t AS SELECT i, repeat('x', 900) FROM generate_series(1, 10000) i", "SELECT pg_drop_replication_slot('understudy_db_backup')")
	warned(t, v, src, "replication slot understudy_db_backup was dropped")
	log, err := os.ReadFile(filepath.Join(s.dir, "log"))
	sourcetest.Must(t, err)
	if n := strings.Count(string(log), "checkpoint starting: immediate force wait"); n != 2 {
		t.Errorf("%d of two checkpoints were made at once:\n%s", n, log)
	}
}

// TestAServerThatWentBackIsSeen: a snapshot of the machine is put back, or another server
// is put into its place.
func TestAServerThatWentBackIsSeen(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	src, v := s.source(nil), sourcetest.NewVault(t)
	s.sql("CREATE TABLE t (n int)")
	v.Backup(t, src)
	s.stop()
	snapshot := filepath.Join(s.dir, "snapshot")
	s.run("cp", "-a", s.data, snapshot)
	s.start()
	s.sql("INSERT INTO t SELECT generate_series(1, 10000)")
	v.Backup(t, src)
	back := func() {
		s.stop()
		sourcetest.Must(t, os.RemoveAll(s.data))
		s.run("cp", "-a", snapshot, s.data)
		s.start()
	}
	back()
	warned(t, v, src, "the server has gone back")

	s.sql("INSERT INTO t SELECT generate_series(1, 10000)")
	far := factsIn(t, v.Prev.Entry).To
	back()
	for n := 0; s.ask(fmt.Sprintf("SELECT pg_current_wal_flush_lsn() < '%s'", far)) == "true"; n++ { // as far again, by another log
		s.sql(fmt.Sprintf("CREATE TABLE other_%d AS SELECT generate_series(1, 40000)", n))
	}
	warned(t, v, src, "the server has another log than it had")

	s.stop()
	sourcetest.Must(t, os.RemoveAll(s.data))
	s.initdb(s.data)
	s.start()
	warned(t, v, src, "the server is another one: its system identifier is")
}

// TestCommitsOfAKilledServerAreThere kills the server while it works, and starts it again:
// what is backed up then has every commit that was acknowledged.
func TestCommitsOfAKilledServerAreThere(t *testing.T) {
	t.Parallel()
	a, b := newTestServer(t), newTestServer(t)
	a.sql("CREATE TABLE ledger (n bigint PRIMARY KEY)")
	src, v := a.source(nil), sourcetest.NewVault(t)
	v.Backup(t, src)
	var done atomic.Int64
	for round := range 3 {
		stop := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for n := done.Load() + 1; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := a.exec(fmt.Sprintf("INSERT INTO ledger VALUES (%d) ON CONFLICT DO NOTHING", n)); err != nil {
					return
				}
				done.Store(n)
			}
		}()
		begun := done.Load()
		eventually(t, func() bool { return done.Load() > begun+20 })
		if round > 0 {
			v.Backup(t, src)
		}
		a.kill()
		close(stop)
		<-ended
		a.start()
	}
	e, _ := v.Backup(t, src)
	if len(e.Warnings) > 0 {
		t.Errorf("warnings: %q", e.Warnings)
	}
	want := done.Load()
	b.place(b.source(nil), v, e, 2)
	if got := b.ask(fmt.Sprintf("SELECT count(*) FROM ledger WHERE n <= %d", want)); got != fmt.Sprint(want) {
		t.Errorf("%s of %d commits that were acknowledged are there", got, want)
	}
}

// TestADamagedPageIsTold: the backup is made, and says so.
func TestADamagedPageIsTold(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	s.sql("CREATE TABLE t AS SELECT generate_series(1, 10000)", "CHECKPOINT")
	path := filepath.Join(s.data, s.ask("SELECT pg_relation_filepath('t')"))
	s.stop()
	sourcetest.Flip(t, path)
	s.start()
	e, _ := sourcetest.NewVault(t).Backup(t, s.source(nil))
	if len(e.Damaged) != 1 || !strings.Contains(e.Damaged[0], "checksum") {
		t.Errorf("damaged: %q", e.Damaged)
	}
}

// TestWhatABackupLacksIsSaid: of the server's present state.
func TestWhatABackupLacksIsSaid(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	src, v := s.source(nil), sourcetest.NewVault(t)
	s.sql("CREATE TABLE t AS SELECT repeat('x', 900) FROM generate_series(1, 80000)")
	a := v.Side(t, src)
	s.sql("INSERT INTO t SELECT repeat('y', 900) FROM generate_series(1, 100)")
	if lacks := sourcetest.Lacks(t, src, a.Entry); !strings.Contains(lacks, "of write-ahead log") {
		t.Errorf("it lacks %q", lacks)
	}
	b := v.Side(t, src)
	if lacks := sourcetest.Lacks(t, src, b.Entry); lacks != "" {
		t.Errorf("it lacks %q", lacks)
	}
	d, err := source.Compare(t.Context(), a, b, source.CompareOptions{SameKeys: true})
	sourcetest.Must(t, err)
	if d.Same || len(d.Notes) == 0 || !strings.Contains(d.Notes[0], "of write-ahead log lie between them") {
		t.Errorf("difference: %+v", d)
	}
	if p, ok := source.LogPosition(b.Entry); !ok || p <= 0 {
		t.Errorf("position %v, %t", p, ok)
	}
	s.sql("DROP TABLE t")
	gone, _ := v.Backup(t, src)
	if lost := source.Lost(b.Entry, gone); !strings.Contains(lost, "its databases had") {
		t.Errorf("lost: %q", lost)
	}
	var f Facts
	sourcetest.Must(t, json.Unmarshal(gone.Facts, &f))
	if f.Major < minMajor || f.System == 0 || f.Timeline != 1 || f.Super != "postgres" || f.From > f.Start || f.Stop > f.To {
		t.Errorf("facts: %s", gone.Facts)
	}
}

// TestANextBaseStoresWhatHasChanged: pages that are as they were are not stored again.
func TestANextBaseStoresWhatHasChanged(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	s.bench(5)
	s.sql("VACUUM FREEZE", "CHECKPOINT")
	src, v := s.source(nil), sourcetest.NewVault(t)
	e, first := v.Backup(t, src)
	s.sql("UPDATE pgbench_tellers SET tbalance = 1", "SELECT pg_drop_replication_slot('understudy_db_backup')")
	_, second := v.Backup(t, src)
	t.Logf("first %d, second %d bytes new", first.New, second.New)
	if second.New > first.New/10 {
		t.Errorf("of a base of %d bytes, in which little has changed, %d are stored again", e.Size, second.New)
	}
}
