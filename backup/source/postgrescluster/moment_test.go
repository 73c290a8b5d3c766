package postgrescluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/backup/stream"
)

var momentsTried = flag.Int("moments", 3, "how many random moments are restored, and compared with what the server had committed")

// commit is a commit as the server itself knows it.
type commit struct {
	xid   string
	time  time.Time
	row   string // of the ledger; "" where the transaction wrote none
	count string // the writer's counter after it
}

// momentRig is a server that writers have worked on, whose log is in a backup and, from
// there on, as it was shipped.
type momentRig struct {
	t       *testing.T
	server  *testServer
	vault   *sourcetest.Vault
	entry   source.Entry
	is      source.Recording
	shipped *shipping
	commits []commit // in the order of the log, from the base on
}

func newMomentRig(t *testing.T) *momentRig {
	s := newTestServer(t, "track_commit_timestamp = on", "wal_keep_size = 4GB", "max_wal_size = 4GB")
	r := &momentRig{t: t, server: s, vault: sourcetest.NewVault(t)}
	s.sql("CREATE TABLE ledger (writer int, n int, pad text)", "CREATE TABLE counters (writer int PRIMARY KEY, n int)", "INSERT INTO counters SELECT i, 0 FROM generate_series(0, 3) i")
	src := s.source(nil)
	first, _ := r.vault.Backup(t, src)
	r.write(0)
	s.sql("SELECT pg_switch_wal()")
	r.write(1)
	r.entry, _ = r.vault.Backup(t, src)
	r.is, _ = source.RecordingOf(r.entry)
	if was, ok := source.RecordingOf(first); !ok || was.Base != r.is.Base || was.Since != r.is.Since || !r.is.Until.After(was.Until) || r.is.To <= was.To {
		t.Fatalf("recorded: %+v, and %+v", was, r.is)
	}
	at := r.is.To
	r.shipped = ship(t, src, &at, nil)
	r.write(2)
	r.shipped.reaches(s)
	r.shipped.close()
	s.kill()
	s.start() // the log goes on behind what the crash has left
	next := ship(t, src, &r.shipped.to, nil)
	r.write(3)
	next.reaches(s)
	next.close()
	r.shipped.got, r.shipped.to = append(r.shipped.got, next.got...), next.to
	r.read()
	return r
}

// write has four writers commit, each in transactions of its own, some of which fail.
func (r *momentRig) write(round int) {
	r.t.Helper()
	const each = 80
	var group sync.WaitGroup
	for writer := range 4 {
		group.Go(func() {
			ctx := context.WithoutCancel(r.t.Context())
			conn, err := pgx.Connect(ctx, r.server.url())
			if err != nil {
				r.t.Error(err)
				return
			}
			defer conn.Close(ctx)
			for i := range each {
				n := round*each + i + 1
				err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
					_, err := tx.Exec(ctx, "INSERT INTO ledger VALUES ($1, $2, repeat('x', $3))", writer, n, rand.IntN(3000))
					if err == nil {
						_, err = tx.Exec(ctx, "UPDATE counters SET n = $2 WHERE writer = $1", writer, n)
					}
					if err == nil && n%9 == 0 {
						return errTaken
					}
					return err
				})
				if err != nil && !errors.Is(err, errTaken) {
					r.t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

// errTaken has a transaction taken back.
var errTaken = errors.New("taken back")

// read asks the server for the times of all commits, and pg_waldump for their order.
func (r *momentRig) read() {
	r.t.Helper()
	byXID := make(map[string]commit)
	conn, err := pgx.Connect(r.t.Context(), r.server.url())
	sourcetest.Must(r.t, err)
	defer conn.Close(context.WithoutCancel(r.t.Context()))
	rows, err := conn.Query(r.t.Context(), "SELECT xmin::text, pg_xact_commit_timestamp(xmin), md5(ledger::text), writer || ':' || n FROM ledger")
	sourcetest.Must(r.t, err)
	for rows.Next() {
		var c commit
		sourcetest.Must(r.t, rows.Scan(&c.xid, &c.time, &c.row, &c.count))
		byXID[c.xid] = c
	}
	sourcetest.Must(r.t, rows.Err())
	f := factsIn(r.t, r.entry)
	out, err := r.server.command(filepath.Join(r.server.bin, "pg_waldump"), "-p", filepath.Join(r.server.data, "pg_wal"), "--rmgr=Transaction", "-s", f.From.String(), "-e", wal.LSN(r.shipped.to).String()).Output()
	sourcetest.Must(r.t, err)
	for _, found := range regexp.MustCompile(`tx: +(\d+),.*desc: COMMIT (\S+ \S+) UTC`).FindAllStringSubmatch(string(out), -1) {
		c, ok := byXID[found[1]]
		if !ok { // of a catalogue
			at, err := time.Parse("2006-01-02 15:04:05.999999", found[2])
			sourcetest.Must(r.t, err)
			c = commit{xid: found[1], time: at}
		}
		delete(byXID, found[1])
		r.commits = append(r.commits, c)
	}
	if len(byXID) > 0 || len(r.commits) < 1000 {
		r.t.Fatalf("the log has %d commits, and lacks %d rows", len(r.commits), len(byXID))
	}
}

// more hands over what was shipped, in pieces.
func (r *momentRig) more(_ context.Context, from stream.Position, take func(stream.Position, []byte) error) error {
	if from != r.shipped.from {
		return fmt.Errorf("log from %d is asked for, and not from %d", from, r.shipped.from)
	}
	for at := r.shipped.from; at < r.shipped.to; {
		log := r.shipped.got[at-r.shipped.from:]
		log = log[:min(len(log), 1+rand.IntN(100_000))]
		if err := take(at, log); err != nil {
			return err
		}
		at += stream.Position(len(log))
	}
	return nil
}

// export restores a moment into a folder.
func (r *momentRig) export(name string, at time.Time) (reached source.Reached, path string, err error) {
	path = filepath.Join(r.server.dir, name)
	err = fsx.At(path, func(p fsx.Place) error {
		reached, err = source.ExportMoment(r.t.Context(), r.vault.Reader(), r.entry, p, source.Moment{Time: at, More: r.more})
		return err
	})
	return reached, path, err
}

// want is what a moment has to have: everything up to the first commit that is later.
func (r *momentRig) want(at time.Time) (want string, later *commit) {
	var ledger []string
	counts := map[string]int{"0": 0, "1": 0, "2": 0, "3": 0}
	for i := range r.commits {
		c := &r.commits[i]
		if c.time.After(at) {
			later = c
			break
		}
		if c.row == "" {
			continue
		}
		ledger = append(ledger, c.row)
		writer, n, _ := strings.Cut(c.count, ":")
		counts[writer], _ = strconv.Atoi(n)
	}
	slices.Sort(ledger)
	return fmt.Sprint(strings.Join(ledger, ","), " ", counts), later
}

// has is what a server has.
func (r *momentRig) has(s *testServer) string {
	counts := map[string]int{}
	for writer := range 4 {
		counts[strconv.Itoa(writer)], _ = strconv.Atoi(s.ask(fmt.Sprintf("SELECT n FROM counters WHERE writer = %d", writer)))
	}
	return fmt.Sprint(s.ask("SELECT coalesce(string_agg(md5(ledger::text), ',' ORDER BY md5(ledger::text) COLLATE \"C\"), '') FROM ledger"), " ", counts)
}

// TestAMomentIsRestored: random moments, and those just at a commit, against what the
// server itself says of each commit, row for row.
func TestAMomentIsRestored(t *testing.T) {
	t.Parallel()
	r := newMomentRig(t)
	r.server.stop()
	all := r.commits
	middle := all[len(all)/2].time
	last := all[len(all)-1].time
	moments := []time.Time{middle, middle.Add(-time.Microsecond), middle.Add(999 * time.Nanosecond), last.Add(time.Hour)}
	begin := r.is.Since
	for range *momentsTried {
		moments = append(moments, begin.Add(rand.N(last.Sub(begin))))
	}
	for i, at := range moments {
		reached, path, err := r.export(fmt.Sprint("moment-", i), at)
		sourcetest.Must(t, err)
		want, later := r.want(at)
		if (later == nil) != (reached.Later == nil) || later != nil && !later.time.Equal(*reached.Later) {
			t.Errorf("%s: the first later commit is %v, and not %v", at, reached.Later, later)
		}
		there := *r.server
		there.data = path
		there.start()
		has := r.has(&there)
		if !strings.HasPrefix(there.ask("SELECT pg_is_in_recovery() || ' ' || current_setting('recovery_target_time')"), "false ") {
			t.Errorf("%s: the server is not its own master", at)
		}
		there.sql("CREATE TABLE goes_on AS SELECT 1")
		there.stop()
		sourcetest.Must(t, os.RemoveAll(path))
		if has != want {
			t.Errorf("%s (reached %+v): there is\n%s\nand not\n%s", at.Format(time.RFC3339Nano), reached, has, want)
		}
	}
}

// TestAMomentThatIsNotWholeIsRefused, and nothing is left.
func TestAMomentThatIsNotWholeIsRefused(t *testing.T) {
	t.Parallel()
	r := newMomentRig(t)
	late := r.commits[len(r.commits)-1].time
	refused := func(at time.Time, why string) {
		t.Helper()
		_, path, err := r.export("refused", at)
		sourcetest.MustFail(t, err, why)
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there: %v", path, err)
		}
	}
	refused(r.is.Since.Add(-time.Microsecond), "the base is whole from")
	r.shipped.got[len(r.shipped.got)/2] ^= 1 // another history, or damage
	refused(late, "before the moment: the record at")
	r.shipped.from += wal.PageSize
	refused(late, "is asked for, and not from")
}

// TestMomentsBeforeANewBaseAreRestored without any part of a stream: between the last backup
// with the base before and the new one, and while that was taken.
func TestMomentsBeforeANewBaseAreRestored(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, "track_commit_timestamp = on")
	s.sql("CREATE TABLE t (n int)")
	src, v := s.source(nil), sourcetest.NewVault(t)
	v.Backup(t, src)
	s.sql("INSERT INTO t VALUES (1)")
	before, _ := v.Backup(t, src)
	reader := v.Reader()
	s.sql("INSERT INTO t VALUES (2)", "SELECT pg_switch_wal()", "INSERT INTO t VALUES (3)", "INSERT INTO t VALUES (4)")
	src.dumper.baseEvery = time.Nanosecond
	end := s.inserts()
	anew, _ := v.Backup(t, src)
	end()
	src.dumper.baseEvery = time.Hour
	s.sql("INSERT INTO t VALUES (5)")
	last, _ := v.Backup(t, src)
	was, _ := source.RecordingOf(before)
	is, _ := source.RecordingOf(last)
	if anew.Root.Equal(before.Root) || !last.Root.Equal(anew.Root) || is.Joins != was.To || is.From <= is.Joins || len(anew.Warnings) > 0 {
		t.Fatalf("before: %+v, and then %+v, warnings %q", was, is, anew.Warnings)
	}
	const has = "SELECT count(*) || ' ' || sum(n) FROM t"
	third, err := time.Parse(time.RFC3339Nano, s.ask(`SELECT to_char(pg_xact_commit_timestamp(xmin) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') FROM t WHERE n = 3`))
	sourcetest.Must(t, err)
	moments := []time.Time{third, is.Since.Truncate(time.Microsecond)} // the other one is as the new base is whole
	var want []string
	for _, at := range moments {
		want = append(want, s.ask(fmt.Sprintf("%s WHERE pg_xact_commit_timestamp(xmin) <= '%s'", has, at.Format(time.RFC3339Nano))))
	}
	all := s.ask(has)
	s.stop()
	more := func(ctx context.Context, from stream.Position, take func(stream.Position, []byte) error) error {
		return source.LogFrom(ctx, v.Reader(), last, from, take)
	}
	restored := func(name string, export func(fsx.Place) error) string {
		there := *s
		there.data = filepath.Join(s.dir, name)
		sourcetest.Must(t, fsx.At(there.data, export))
		there.start()
		defer there.stop()
		return there.ask(has)
	}
	for i, at := range moments {
		got := restored(fmt.Sprint("moment-", i), func(p fsx.Place) error {
			_, err := source.ExportMoment(t.Context(), reader, before, p, source.Moment{Time: at, More: more})
			return err
		})
		if got != want[i] {
			t.Errorf("%s: there are %s, and not %s", at, got, want[i])
		}
	}
	got := restored("last", func(p fsx.Place) error { return source.ExportTo(t.Context(), v.Reader(), last, p) })
	if got != all {
		t.Errorf("in the backup are %s, and not %s", got, all)
	}
}

// inserts inserts one row after the other, until the function that it returns is called.
func (s *testServer) inserts() (end func()) {
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := s.exec("INSERT INTO t VALUES (1000)"); err != nil {
				s.t.Error(err)
				return
			}
		}
	})
	return func() {
		close(stop)
		group.Wait()
	}
}

// TestAMomentIsStaged, swapped in and promoted: the server has what it had then, row for row,
// on the timeline of its epoch, and can be backed up and go on. For a follower the stage ends
// where its log was cut.
func TestAMomentIsStaged(t *testing.T) {
	t.Parallel()
	r, other := newMomentRig(t), newTestServer(t)
	to := other.source(nil)
	ctx := t.Context()
	at := r.commits[len(r.commits)/2].time
	_, err := to.StageMoment(ctx, r.vault.Reader(), r.entry, source.Moment{Time: r.is.Since.Add(-time.Microsecond), More: r.more})
	sourcetest.MustFail(t, err, "the base is whole from")
	reached, err := to.StageMoment(ctx, r.vault.Reader(), r.entry, source.Moment{Time: at, More: r.more})
	sourcetest.Must(t, err)
	want, later := r.want(at)
	if reached.Later == nil || !reached.Later.Equal(later.time) {
		t.Errorf("reached %+v, and the first later commit is %+v", reached, later)
	}
	followed, ok, err := to.Followed(ctx, nil)
	if err != nil || !ok || wal.LSN(followed).String() != reached.Position {
		t.Errorf("the stage has its log up to %s, %v, %v; reached %s", wal.LSN(followed), ok, err, reached.Position)
	}
	sourcetest.Must(t, to.Swap(ctx))
	sourcetest.Must(t, to.Discard(ctx))
	sourcetest.Must(t, to.Start(ctx, 7))
	if has := r.has(other); has != want {
		t.Errorf("there is\n%s\nand not\n%s", has, want)
	}
	if r.server.timeline() == other.timeline() {
		t.Errorf("timeline %s once more", other.timeline())
	}
	other.sql("CREATE TABLE goes_on AS SELECT 1")
	if next, _ := sourcetest.NewVault(t).Backup(t, to); next.Kind != r.entry.Kind {
		t.Errorf("a backup of it: %+v", next)
	}
}
