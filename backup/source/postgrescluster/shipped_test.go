package postgrescluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/backup/stream"
)

// shipping is the log of a server as an agent ships it: what is read of it, in memory.
type shipping struct {
	t      *testing.T
	log    source.Log
	from   stream.Position
	begin  json.RawMessage
	cancel context.CancelFunc
	ended  chan struct{}

	mu   sync.Mutex
	got  []byte
	to   stream.Position
	err  error
	each func(from stream.Position, log []byte) // of what comes; may be nil
}

// ship opens a log, and reads it until it ends.
func ship(t *testing.T, src *Source, from *stream.Position, each func(from stream.Position, log []byte)) *shipping {
	t.Helper()
	log, err := src.OpenLog(t.Context(), from)
	sourcetest.Must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	s := &shipping{t: t, log: log, cancel: cancel, ended: make(chan struct{}), each: each}
	s.from, s.begin = log.Begin()
	s.to = s.from
	go func() {
		defer close(s.ended)
		for {
			got, to, err := log.Next(ctx)
			s.mu.Lock()
			if err == nil && len(got) != int(to-s.to) {
				err = fmt.Errorf("%d bytes from %d to %d", len(got), s.to, to)
			}
			if err != nil {
				s.err = err
				s.mu.Unlock()
				return
			}
			at := s.to
			s.got, s.to = append(s.got, got...), to
			s.mu.Unlock()
			if each != nil {
				each(at, got)
			}
		}
	}()
	t.Cleanup(func() { s.close() })
	return s
}

func (s *shipping) close() {
	s.cancel()
	<-s.ended
	_ = s.log.Close()
}

func (s *shipping) at() stream.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.to
}

// reaches waits until the log has come up to where the server is.
func (s *shipping) reaches(server *testServer) stream.Position {
	s.t.Helper()
	at, err := wal.Parse(server.ask("SELECT pg_current_wal_flush_lsn()"))
	sourcetest.Must(s.t, err)
	eventually(s.t, func() bool { return s.at() >= stream.Position(at) })
	return s.at()
}

// eachFeed runs a test with commits that wait for the log, which comes from a sender then, and
// with such that do not.
func eachFeed(t *testing.T, test func(t *testing.T, change func(*Config))) {
	t.Run("sender", func(t *testing.T) {
		t.Parallel()
		test(t, func(c *Config) { c.Sync = true })
	})
	t.Run("files", func(t *testing.T) {
		t.Parallel()
		test(t, nil)
	})
}

func TestALogIsShippedAsItIsWritten(t *testing.T) {
	t.Parallel()
	eachFeed(t, shipsALogAsItIsWritten)
}

func shipsALogAsItIsWritten(t *testing.T, change func(*Config)) {
	s := newTestServer(t)
	src := s.source(change)
	s.bench(1)
	log := ship(t, src, nil, nil)
	end := s.pgbench("-c", "2", "-T", "3")
	s.sql("CREATE TABLE t AS SELECT generate_series(1, 100000)")
	log.reaches(s)
	positions := func() string {
		return s.ask("SELECT coalesce(string_agg(write_lsn || ' ' || flush_lsn || ' ' || replay_lsn, ','), '') FROM pg_stat_replication WHERE application_name = 'understudy_db'")
	}
	end()
	to := log.reaches(s)
	// Before anything is confirmed the server keeps all, and is told so.
	kept := s.ask("SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'understudy_db'")
	if at, err := wal.Parse(kept); err != nil || stream.Position(at) > log.from {
		t.Errorf("the slot is at %s, and nothing is confirmed behind %d", kept, log.from)
	}
	sourcetest.Must(t, log.log.Confirm(to))
	want := ""
	if change != nil {
		want = fmt.Sprintf("%[1]s %[1]s %[1]s", wal.LSN(to))
	}
	eventually(t, func() bool { return positions() == want })
	eventually(t, func() bool {
		return s.ask("SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'understudy_db'") == wal.LSN(to).String()
	})

	// Another process goes on there, and gets the same bytes as the server's files have.
	log.close()
	s.sql("INSERT INTO t SELECT generate_series(1, 1000)")
	next := ship(t, src, &to, nil)
	if next.from != to {
		t.Errorf("it goes on at %d, and not at %d", next.from, to)
	}
	next.reaches(s)
	all := append(log.got[:to-log.from], next.got...) // it may have got more since
	logs := sourcetest.Held(t, filepath.Join(s.data, "pg_wal"))
	files := &segments{dir: logs, timeline: 1, size: 16 << 20}
	there := make([]byte, len(all))
	sourcetest.Must(t, files.read(wal.LSN(log.from), there))
	for i := range all {
		if all[i] != there[i] {
			t.Errorf("from %s on, of %s to %s, what was shipped is not what the server has", wal.LSN(log.from)+wal.LSN(i), wal.LSN(log.from), wal.LSN(log.from)+wal.LSN(len(all)))
			break
		}
	}
	if _, err := src.OpenLog(t.Context(), &to); err == nil {
		t.Error("two receive from one slot")
	} else {
		sourcetest.MustFail(t, err, "let one agent alone work on a server")
	}
}

// TestAServerStopsWhileItsLogIsNotConfirmed: the bucket may be away. All that it had to say
// has come by then.
func TestAServerStopsWhileItsLogIsNotConfirmed(t *testing.T) {
	t.Parallel()
	eachFeed(t, stopsWhileItsLogIsNotConfirmed)
}

func stopsWhileItsLogIsNotConfirmed(t *testing.T, change func(*Config)) {
	s := newTestServer(t)
	src := s.source(change)
	for _, confirm := range []bool{false, true} {
		log := ship(t, src, nil, nil)
		s.sql(fmt.Sprintf("CREATE TABLE t_%t AS SELECT generate_series(1, 1000)", confirm))
		to := log.reaches(s)
		if confirm {
			sourcetest.Must(t, log.log.Confirm(to))
		}
		begun := time.Now()
		sourcetest.Must(t, src.Stop(t.Context()))
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("confirmed %t: the server took %v to stop", confirm, took)
		}
		<-log.ended
		if !errors.Is(log.err, io.EOF) {
			t.Errorf("confirmed %t: the log ended by %v", confirm, log.err)
		}
		// The last record is that of the stop, whole.
		begin := wal.LSN(log.from) - wal.LSN(log.from)%wal.PageSize
		padded := append(make([]byte, wal.LSN(log.from)-begin), log.got...)
		logs := sourcetest.Held(t, filepath.Join(s.data, "pg_wal"))
		files := &segments{dir: logs, timeline: 1, size: 16 << 20}
		sourcetest.Must(t, files.read(begin, padded[:wal.LSN(log.from)-begin]))
		if last := wal.Last(padded, begin, 16<<20); last.End != wal.LSN(log.to) {
			t.Errorf("confirmed %t: the last record ends at %s, and the log at %s", confirm, last.End, wal.LSN(log.to))
		}
		log.close()
		s.start()
	}
}

// TestAServerStopsWhileNobodyReadsItsLog: what was read waits for a bucket that does not
// answer, of a stream or of a backup. The slot keeps the rest for whoever reads when the
// server runs again.
func TestAServerStopsWhileNobodyReadsItsLog(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, "wal_sender_timeout = 1h")
	src := s.source(func(c *Config) { c.Sync = true }) // who reads its files has none wait
	src.server.unread = time.Second
	log, err := src.OpenLog(t.Context(), nil)
	sourcetest.Must(t, err)
	defer log.Close()
	from, _ := log.Begin()
	conn, err := src.server.replicate(t.Context())
	sourcetest.Must(t, err)
	backup, err := src.server.receive(t.Context(), conn, "", wal.LSN(from), 1)
	sourcetest.Must(t, err)
	defer backup.close(t.Context())
	s.sql("CREATE TABLE t AS SELECT generate_series(1, 1000)")
	_, _, err = log.Next(t.Context())
	sourcetest.Must(t, err)
	s.sql("INSERT INTO t SELECT generate_series(1, 1000)")
	sourcetest.Must(t, src.Stop(t.Context())) // or it takes longer than a minute
	if _, _, err := log.Next(t.Context()); !errors.Is(err, errLetStop) {
		t.Errorf("the log goes on: %v", err)
	}
	if _, err := backup.next(t.Context(), time.Time{}); !errors.Is(err, errLetStop) {
		t.Errorf("the log of a backup goes on: %v", err)
	}
	s.start()
	again := ship(t, src, &from, nil)
	again.reaches(s)
}

func TestALogThatDoesNotGoOnIsAGap(t *testing.T) {
	t.Parallel()
	eachFeed(t, isAGapWhereItDoesNotGoOn)
}

func isAGapWhereItDoesNotGoOn(t *testing.T, change func(*Config)) {
	s := newTestServer(t)
	src := s.source(change)
	log := ship(t, src, nil, nil)
	s.sql("CREATE TABLE t AS SELECT generate_series(1, 1000)")
	first := log.reaches(s)
	sourcetest.Must(t, log.log.Confirm(first))
	log.close()
	s.stop()
	snapshot := filepath.Join(s.dir, "snapshot")
	s.run("cp", "-a", s.data, snapshot)
	s.start()

	log = ship(t, src, &first, nil)
	s.sql("INSERT INTO t SELECT generate_series(1, 1000)")
	to := log.reaches(s)
	sourcetest.Must(t, log.log.Confirm(to))
	log.close()
	isGap := func(what string) {
		t.Helper()
		_, err := src.OpenLog(t.Context(), &to)
		if !errors.Is(err, source.ErrGap) {
			t.Errorf("%s: %v", what, err)
		}
	}
	s.stop()
	sourcetest.Must(t, os.RemoveAll(s.data))
	s.run("cp", "-a", snapshot, s.data)
	s.start()
	isGap("the server was rolled back, and is before it")
	for n := 0; s.ask(fmt.Sprintf("SELECT pg_current_wal_flush_lsn() <= '%s'", wal.LSN(to))) == "true"; n++ {
		s.sql(fmt.Sprintf("CREATE TABLE other_%d AS SELECT generate_series(1, 500)", n))
	}
	isGap("the server was rolled back, and has another log there")

	// The server may delete what is not confirmed.
	s.sql("SELECT pg_drop_replication_slot('understudy_db')")
	log = ship(t, src, nil, nil)
	to = log.reaches(s)
	log.close()
	s.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'", "ALTER SYSTEM SET max_wal_size = '32MB'", "ALTER SYSTEM SET min_wal_size = '32MB'", "SELECT pg_reload_conf()")
	for range 6 {
		s.sql("CREATE TABLE large AS SELECT i, repeat('x', 900) FROM generate_series(1, 20000) i", "DROP TABLE large", "SELECT pg_switch_wal()", "CHECKPOINT")
	}
	isGap("the slot is lost")
}
