package postgrescluster

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// TestTheLastWholeRecordIsFound wherever a log is cut: as PostgreSQL's own program finds it.
func TestTheLastWholeRecordIsFound(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, "wal_keep_size = 1GB")
	const size = 16 << 20
	begin, err := wal.Parse(s.ask("SELECT pg_current_wal_lsn()"))
	sourcetest.Must(t, err)
	begin = wal.Start(begin, size)
	s.bench(1)
	s.sql("SELECT pg_switch_wal()", "CREATE TABLE t AS SELECT repeat('x', 5000) FROM generate_series(1, 2000)", "SELECT pg_logical_emit_message(true, 'm', repeat('y', 300000))")
	s.kill() // and a record that begins after it
	s.start()
	s.sql("INSERT INTO t SELECT repeat('z', 900) FROM generate_series(1, 10)")
	end, err := wal.Parse(s.ask("SELECT pg_current_wal_flush_lsn()"))
	sourcetest.Must(t, err)
	s.stop()
	out, err := s.command(filepath.Join(s.bin, "pg_waldump"), "-p", filepath.Join(s.data, "pg_wal"), "-s", begin.String(), "-e", end.String()).CombinedOutput()
	if err != nil {
		t.Fatalf("pg_waldump: %v\n%s", err, out[max(0, len(out)-1000):])
	}
	var records []wal.LSN
	for line := range strings.Lines(string(out)) {
		_, rest, _ := strings.Cut(line, "lsn: ")
		text, _, _ := strings.Cut(rest, ",")
		at, err := wal.Parse(text)
		sourcetest.Must(t, err)
		records = append(records, at)
	}
	if len(records) < 5000 {
		t.Fatalf("%d records", len(records))
	}
	logs := sourcetest.Held(t, filepath.Join(s.data, "pg_wal"))
	files := &segments{dir: logs, timeline: 1, size: size}
	log := make([]byte, end-begin)
	sourcetest.Must(t, files.read(begin, log))
	window := func(to wal.LSN) wal.Record { // as long as it must be
		for size := wal.LSN(64 << 10); ; size *= 4 {
			from := begin
			if to-begin > size {
				from = to - size
				from -= from % wal.PageSize
			}
			if r := wal.Last(log[from-begin:to-begin], from, 16<<20); r.End != 0 || from == begin {
				return r
			}
		}
	}
	for i := 1; i < len(records)-1; i += 1 + i%7 {
		at, next := records[i], records[i+1]
		if got := window(next); got.Start != at || got.End > next {
			t.Fatalf("cut at %s: %s to %s, and not %s", next, got.Start, got.End, at)
		}
		if got := window(at + 8); got.Start != records[i-1] {
			t.Fatalf("cut in the record at %s: %s, and not %s", at, got.Start, records[i-1])
		}
	}
	last, err := files.last(t.Context(), begin, end)
	if err != nil || last.Start != records[len(records)-1] || last.End != end {
		t.Errorf("the last one is %s to %s, and not %s to %s: %v", last.Start, last.End, records[len(records)-1], end, err)
	}
}
