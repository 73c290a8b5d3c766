package postgrescluster

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// TestWhoReadsAServersFilesNoticesWhatBecomesOfIt: reading on would be reading the log of
// another time, or log that nobody keeps.
func TestWhoReadsAServersFilesNoticesWhatBecomesOfIt(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	src := s.source(nil)
	s.sql("CREATE TABLE t (i int)")
	for _, c := range []struct {
		what   string
		do     func()
		begins func() // has the server run again; nil: it does
		want   string
	}{
		{"the server is killed", s.kill, s.start, "ask the server how far its log is"},
		{"its session is ended", func() {
			s.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
		}, nil, "ask the server how far its log is"},
		{"the slot is dropped", func() { s.sql("SELECT pg_drop_replication_slot('understudy_db')") }, nil, "it is not there any more"},
		{"the server is stopped", s.stop, s.start, io.EOF.Error()},
	} {
		log := ship(t, src, nil, nil)
		s.sql("INSERT INTO t SELECT generate_series(1, 1000)")
		to := log.reaches(s)
		c.do()
		if c.begins == nil {
			s.sql("INSERT INTO t SELECT generate_series(1, 1000)")
		}
		sourcetest.Must(t, log.log.Confirm(to))
		<-log.ended
		sourcetest.MustFail(t, log.err, c.want)
		if errors.Is(log.err, source.ErrGap) || errors.Is(log.err, io.EOF) != (c.want == io.EOF.Error()) {
			t.Errorf("%s: %v", c.what, log.err)
		}
		log.close()
		if c.begins != nil {
			c.begins()
		}
		// It goes on there.
		again := ship(t, src, &to, nil)
		if s.sql("INSERT INTO t SELECT generate_series(1, 1000)"); again.from != to {
			t.Errorf("%s: it goes on at %d, and not at %d", c.what, again.from, to)
		}
		again.reaches(s)
		again.close()
	}
}

// TestAServerThatDoesNotAnswerIsTold: its process stands still.
func TestAServerThatDoesNotAnswerIsTold(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	src := s.source(nil)
	src.server.answers = 100 * time.Millisecond
	log := ship(t, src, nil, nil)
	pid, err := strconv.Atoi(s.ask("SELECT pid::text FROM pg_locks WHERE locktype = 'advisory'"))
	sourcetest.Must(t, err)
	sourcetest.Must(t, syscall.Kill(pid, syscall.SIGSTOP))
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }() // it stops with its server
	<-log.ended
	if !errors.Is(log.err, errNoAnswer) {
		t.Errorf("the log ended by %v", log.err)
	}
}

// TestALogWhoseFilesAreNotThereComesFromASender: data_dir may be another server's, or that of
// a container under another path.
func TestALogWhoseFilesAreNotThereComesFromASender(t *testing.T) {
	t.Parallel()
	s, other := newTestServer(t), newTestServer(t)
	log, err := s.source(func(c *Config) { c.DataDir = other.data }).OpenLog(t.Context(), nil)
	sourcetest.Must(t, err)
	defer log.Close()
	s.isSent()
}

// isSent fails unless a sender has the log of a stream.
func (s *testServer) isSent() {
	s.t.Helper()
	if got := s.ask("SELECT count(*) FROM pg_stat_replication WHERE application_name = 'understudy_db'"); got != "1" {
		s.t.Errorf("%s senders", got)
	}
}

// TestALogWhoseFilesTheAgentMayNotReadComesFromASender, as to an agent without root, and with
// another user than the server's.
func TestALogWhoseFilesTheAgentMayNotReadComesFromASender(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	if s.owner == nil {
		t.Log("whoever runs this test may read the server's files")
		return
	}
	scratch, err := os.MkdirTemp("", "scratch-") //nolint:usetesting // the parent of t.TempDir is one that only this user may enter
	sourcetest.Must(t, err)
	defer os.RemoveAll(scratch)
	src := s.source(func(c *Config) { c.Scratch = scratch })
	const nobody = 65534
	sourcetest.Must(t, os.Chown(scratch, nobody, nobody))
	var log source.Log
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread ends with this goroutine
		err := unix.Setfsuid(nobody)
		if err == nil {
			log, err = src.OpenLog(t.Context(), nil)
		}
		done <- err
	}()
	sourcetest.Must(t, <-done)
	defer log.Close()
	s.isSent()
}

// TestOldSegmentsBehindTheEndOfALogAreNotRead: a server keeps some under the names of those to
// come.
func TestOldSegmentsBehindTheEndOfALogAreNotRead(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	s.sql("CREATE TABLE t AS SELECT generate_series(1, 1000)")
	s.stop()
	is, err := readControl(sourcetest.Held(t, s.data))
	sourcetest.Must(t, err)
	logs, log := sourcetest.Held(t, filepath.Join(s.data, "pg_wal")), logOf{timeline: is.Timeline, segment: is.Segment}
	want, err := lastIn(t.Context(), logs, log, is.Redo, 0)
	sourcetest.Must(t, err)
	segment := func(n int) string {
		at := wal.Start(want, is.Segment) + wal.LSN(n)*wal.LSN(is.Segment)
		return filepath.Join(s.data, "pg_wal", wal.Segment(is.Timeline, at, is.Segment))
	}
	for n := 1; n < 3; n++ {
		sourcetest.Must(t, os.RemoveAll(segment(n)))
	}
	s.run("cp", segment(0), segment(1))
	sourcetest.Must(t, os.Mkdir(segment(2), 0o700)) // whoever reads it fails
	end, err := lastIn(t.Context(), logs, log, is.Redo, 0)
	if err != nil || end != want || end <= is.Redo {
		t.Errorf("the log ends at %s, and not at %s: %v", end, want, err)
	}
}
