package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// newSlowlyStored is a bank in WAL mode, which is held open, and a storing of it
// that bears little growth of the WAL. Its store waits for reading to end.
func newSlowlyStored(t *testing.T) (db *sql.DB, s *Storing, store *sourcetest.SlowStore) {
	t.Helper()
	path, db, store := sourcetest.NewSlowBank(t)
	return db, &Storing{W: store, At: sourcetest.Placed(t, path), Scratch: t.TempDir(), WalGrowth: 64 << 10, WalEvery: time.Millisecond}, store
}

// A store that stands still does not make the WAL grow without end: the snapshot
// is let go of, and what is stored is still the snapshot.
func TestASlowStoreDoesNotHoldTheWAL(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, s, store := newSlowlyStored(t)
	got, err := s.live(ctx)
	sourcetest.Must(t, err)
	to := filepath.Join(t.TempDir(), "stored.db")
	sourcetest.Must(t, os.WriteFile(to, store.Got.Bytes(), 0o600))
	if n := sourcetest.CheckBank(t, to); n != 1001 || got.Root.Size != int64(store.Got.Len()) {
		t.Errorf("%d transfers are stored, of %x", n, sha256.Sum256(store.Got.Bytes()))
	}
	if left, _ := os.ReadDir(s.Scratch); len(left) > 0 {
		t.Errorf("left in the scratch folder: %v", left)
	}
}

// Where the rest cannot be put aside the backup ends, and the WAL is let go of.
func TestASlowStoreEndsWhereTheRestCannotBePutAside(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	db, s, _ := newSlowlyStored(t)
	s.Scratch = filepath.Join(s.At.Path(), "no folder")
	if _, err := s.live(ctx); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("stored without a place for the rest: %v", err)
	}
	var busy, pages, taken int
	sourcetest.Must(t, db.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &taken))
	if busy != 0 {
		t.Error("somebody still reads")
	}
}
