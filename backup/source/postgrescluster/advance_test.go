package postgrescluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/backup/stream"
)

// marker is a file in a stage, which one that is built anew does not have. (A new folder may
// have the inode of the old one.)
const marker = "of this stage"

func markStage(t *testing.T, src *Source) {
	t.Helper()
	const private = 0o600
	sourcetest.Must(t, os.WriteFile(filepath.Join(src.Staged(), marker), nil, private))
}

func isMarked(t *testing.T, src *Source) bool {
	t.Helper()
	_, err := os.Stat(filepath.Join(src.Staged(), marker))
	if !errors.Is(err, os.ErrNotExist) {
		sourcetest.Must(t, err)
	}
	return err == nil
}

// TestAStageIsBroughtForward by the log that it lacks, and built anew where that does not
// go on.
func TestAStageIsBroughtForward(t *testing.T) {
	t.Parallel()
	a, b := newTestServer(t), newTestServer(t)
	from, to, v := a.source(nil), b.source(nil), sourcetest.NewVault(t)
	a.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
	first, _ := v.Backup(t, from)
	v.Stage(t, to, first)
	markStage(t, to)
	advance := func(was source.Entry) source.Entry {
		t.Helper()
		e, _ := v.Backup(t, from)
		sourcetest.Must(t, to.Advance(t.Context(), v.Reader(), was, e))
		if print, err := to.Fingerprint(t.Context()); err != nil || print == "" || strings.Contains(print, "written to") {
			t.Errorf("fingerprint %q, %v", print, err)
		}
		return e
	}
	a.sql("INSERT INTO t SELECT generate_series(1001, 2000)")
	second := advance(first)
	same := advance(second) // nothing was written, or hardly anything
	if !isMarked(t, to) {
		t.Error("the stage was built anew")
	}
	a.sql("INSERT INTO t SELECT generate_series(2001, 3000)")
	a.stop() // the end of its log is a record by which a server begins
	a.start()
	third := advance(same)
	a.sql("SELECT pg_drop_replication_slot('understudy_db_backup')", "SELECT pg_switch_wal()", "INSERT INTO t SELECT generate_series(3001, 4000)")
	advance(third) // with a new base, whose log begins behind the stage
	if isMarked(t, to) {
		t.Error("the stage was not built anew")
	}
	sourcetest.Must(t, to.Swap(t.Context()))
	sourcetest.Must(t, to.Start(t.Context(), 2))
	if got := b.ask("SELECT count(*) FROM t"); got != "4000" {
		t.Errorf("%s rows", got)
	}
}

// TestAStageWithOtherLogIsBuiltAnew, though the positions fit.
func TestAStageWithOtherLogIsBuiltAnew(t *testing.T) {
	t.Parallel()
	a, b := newTestServer(t), newTestServer(t)
	from, to, v := a.source(nil), b.source(nil), sourcetest.NewVault(t)
	a.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
	first, _ := v.Backup(t, from)
	v.Stage(t, to, first)
	markStage(t, to)
	f := factsIn(t, first)
	last := f.To - 1
	segment, err := os.OpenFile(filepath.Join(to.Staged(), "pg_wal", wal.Segment(f.Timeline, last, f.Segment)), os.O_RDWR, 0)
	sourcetest.Must(t, err)
	defer segment.Close()
	at, is := int64(uint64(last)%f.Segment), make([]byte, 1)
	_, err = segment.ReadAt(is, at)
	sourcetest.Must(t, err)
	_, err = segment.WriteAt([]byte{^is[0]}, at)
	sourcetest.Must(t, err)
	a.sql("INSERT INTO t VALUES (1001)")
	second, _ := v.Backup(t, from)
	sourcetest.Must(t, to.Advance(t.Context(), v.Reader(), first, second))
	if isMarked(t, to) {
		t.Error("the stage was brought forward over other log")
	}
}

// TestAStoppedServerIsBackedUp: of a host that was replaced, what its successor lacks.
func TestAStoppedServerIsBackedUp(t *testing.T) {
	t.Parallel()
	a, b := newTestServer(t), newTestServer(t)
	from, v := a.source(nil), sourcetest.NewVault(t)
	a.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
	if _, _, err := stoppedOf(t, a, from, v); err == nil || !strings.Contains(err.Error(), "there is no backup that goes on with its log") {
		t.Errorf("without a backup before: %v", err)
	}
	v.Backup(t, from)
	a.sql("INSERT INTO t SELECT generate_series(1001, 2000)")
	e, covered, err := stoppedOf(t, a, from, v)
	sourcetest.Must(t, err)
	if got := factsIn(t, e).To; got != covered {
		t.Errorf("the log ends at %s, and not at %s", got, covered)
	}
	b.place(b.source(nil), v, e, 2)
	if got := b.ask("SELECT count(*) FROM t"); got != "2000" {
		t.Errorf("%s rows", got)
	}

	// A successor that has the whole log lacks nothing, however the server ended.
	a.sql("INSERT INTO t SELECT generate_series(2001, 3000)")
	before := v.Prev.Entry
	a.kill()
	ctx := source.WithCovered(t.Context(), map[string]stream.Position{"db": 1 << 40})
	again, _, err := v.TryBackup(ctx, from)
	sourcetest.Must(t, err)
	if !source.Identical(before, again, true) {
		t.Error("what the successor has is backed up again")
	}
	more, _ := v.Backup(t, from)
	if source.Identical(before, more, true) {
		t.Error("what nobody has is not backed up")
	}
	a.start()
	if e, _ := v.Backup(t, from); len(e.Warnings) > 0 {
		t.Errorf("warnings: %q", e.Warnings)
	}
}

// stoppedOf stops a server, backs it up, and starts it again. It returns where its log ends.
func stoppedOf(t *testing.T, s *testServer, src *Source, v *sourcetest.Vault) (source.Entry, any, error) {
	t.Helper()
	s.stop()
	e, _, err := v.TryBackup(t.Context(), src)
	data := sourcetest.Held(t, s.data)
	logs := sourcetest.Held(t, filepath.Join(s.data, "pg_wal"))
	is, failed := readControl(data)
	sourcetest.Must(t, failed)
	end, failed := lastIn(t.Context(), logs, logOf{timeline: 1, segment: is.Segment}, is.Redo, 0)
	sourcetest.Must(t, failed)
	s.start()
	return e, end, err
}

// TestATablespaceThatIsMadeLaterIsTold, by the backup and by the replica.
func TestATablespaceThatIsMadeLaterIsTold(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.follow(t)
	p.a.sql("INSERT INTO ledger VALUES (1)")
	at := p.log.reaches(p.a)
	begin := p.log.begin
	p.log.close()
	space := filepath.Join(p.a.dir, "space")
	p.a.run("mkdir", space)
	p.a.sql("CREATE TABLESPACE later LOCATION '" + space + "'")
	if _, _, err := p.v.TryBackup(t.Context(), p.from); err == nil || !strings.Contains(err.Error(), "later at "+space) {
		t.Errorf("the backup: %v", err)
	}
	sourcetest.Must(t, os.Rename(space, space+".elsewhere")) // as on another host
	log := ship(t, p.from, &at, nil)
	log.reaches(p.a)
	log.close()
	eventually(t, func() bool {
		err := p.to.Feed(t.Context(), begin, log.from, log.got)
		return err != nil && strings.Contains(err.Error(), "the replica's server has ended") && strings.Contains(err.Error(), space)
	})
	sourcetest.Must(t, os.Rename(space+".elsewhere", space))
}

// TestAFullDiskIsTold, and nothing is left of the stage.
func TestAFullDiskIsTold(t *testing.T) {
	t.Parallel()
	sourcetest.NeedRoot(t)
	a := newTestServer(t)
	from, v := a.source(nil), sourcetest.NewVault(t)
	e, _ := v.Backup(t, from)
	small := filepath.Join(a.dir, "small")
	a.run("mkdir", small)
	sourcetest.Mounting(t, "tmpfs", small, "tmpfs", 0)
	sourcetest.Must(t, unix.Mount("tmpfs", small, "tmpfs", unix.MS_REMOUNT, "size=24m"))
	to := a.source(func(c *Config) { c.DataDir = filepath.Join(small, "data") })
	err := to.Stage(t.Context(), v.Reader(), e)
	if !errors.Is(err, source.ErrFull) {
		t.Errorf("error %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(small, ".data*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
