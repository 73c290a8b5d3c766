package source

import (
	"bytes"
	"context"
	"database/sql"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
)

// slowStore takes the first bytes of what it is given, then waits.
type slowStore struct {
	wait func(ctx context.Context) error
	got  bytes.Buffer
}

func (s *slowStore) Keep(pack.Stream) bool { return false }

func (s *slowStore) Write(ctx context.Context, r io.Reader, _ pack.Profile) (pack.Stream, error) {
	if _, err := io.CopyN(&s.got, r, 4096); err != nil {
		return pack.Stream{}, err
	}
	if err := s.wait(ctx); err != nil {
		return pack.Stream{}, err
	}
	_, err := io.Copy(&s.got, r)
	return pack.Stream{Size: int64(s.got.Len())}, err
}

// newSlowBank is a bank in WAL mode, which is held open, and a store that waits for
// the reading of it to end.
func newSlowBank(t *testing.T) (path string, db *sql.DB, store *slowStore) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "a.db")
	db = newBank(t, path, "wal", 1000)
	t.Cleanup(func() { _ = db.Close() })
	impatient, err := sql.Open("sqlite", sqliteURI(path, "_pragma=busy_timeout(0)"))
	must(t, err)
	t.Cleanup(func() { _ = impatient.Close() })
	store = &slowStore{}
	store.wait = func(ctx context.Context) error {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			must(t, transfer(db, 1, 2)) // which the WAL has, and nobody takes out of it
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
	must(t, transfer(db, 3, 4)) // in the WAL alone
	return path, db, store
}
