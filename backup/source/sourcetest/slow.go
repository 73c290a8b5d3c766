package sourcetest

import (
	"bytes"
	"context"
	"database/sql"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
)

// SlowStore takes the first bytes of what it is given, then waits.
type SlowStore struct {
	wait func(ctx context.Context) error
	Got  bytes.Buffer
}

// Keep implements chunks.Writer.
func (s *SlowStore) Keep(pack.Stream) bool { return false }

func (s *SlowStore) Write(ctx context.Context, r io.Reader, _ pack.Profile) (pack.Stream, error) {
	if _, err := io.CopyN(&s.Got, r, 4096); err != nil {
		return pack.Stream{}, err
	}
	if err := s.wait(ctx); err != nil {
		return pack.Stream{}, err
	}
	_, err := io.Copy(&s.Got, r)
	return pack.Stream{Size: int64(s.Got.Len())}, err
}

// WriteOver implements chunks.Writer.
func (s *SlowStore) WriteOver(ctx context.Context, r io.Reader, p pack.Profile, _ pack.Stream) (pack.Stream, error) {
	return s.Write(ctx, r, p)
}

// NewSlowBank is a bank in WAL mode, which is held open, and a store that waits for
// the reading of it to end.
func NewSlowBank(t *testing.T) (path string, db *sql.DB, store *SlowStore) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "a.db")
	db = NewBank(t, path, "wal", 1000)
	t.Cleanup(func() { _ = db.Close() })
	impatient, err := sql.Open("sqlite", sqlitefile.URI(path, "_pragma=busy_timeout(0)"))
	Must(t, err)
	t.Cleanup(func() { _ = impatient.Close() })
	store = &SlowStore{}
	store.wait = func(ctx context.Context) error {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			Must(t, Transfer(db, 1, 2)) // which the WAL has, and nobody takes out of it
			// 1 as long as somebody reads what only the WAL has.
			var busy, pages, taken int
			if err := impatient.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &taken); err != nil || busy == 0 {
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
		}
	}
	Must(t, Transfer(db, 3, 4)) // in the WAL alone
	return path, db, store
}

// NullWriter takes the chunking out of the measurement.
type NullWriter struct{}

func (NullWriter) Write(_ context.Context, r io.Reader, _ pack.Profile) (pack.Stream, error) {
	n, err := io.Copy(io.Discard, r) // which pools its buffers
	return pack.Stream{Size: n, Chunks: make([]pack.ID, n>>16+1)}, err
}

// WriteOver implements chunks.Writer.
func (w NullWriter) WriteOver(ctx context.Context, r io.Reader, p pack.Profile, _ pack.Stream) (pack.Stream, error) {
	return w.Write(ctx, r, p)
}

// Keep implements chunks.Writer.
func (NullWriter) Keep(pack.Stream) bool { return true }
