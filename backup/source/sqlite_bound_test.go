package source

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
) // newSlowlyStored is a bank in WAL mode, which is held open, and a storing of it
// that bears little growth of the WAL. Its store waits for reading to end.
func newSlowlyStored(t *testing.T) (db *sql.DB, s *storing, store *slowStore) {
	t.Helper()
	path, db, store := newSlowBank(t)
	return db, &storing{w: store, at: placed(t, path), scratch: t.TempDir(), walGrowth: 64 << 10, walEvery: time.Millisecond}, store
} // A store that stands still does not make the WAL grow without end: the snapshot
// is let go of, and what is stored is still the snapshot.
func TestASlowStoreDoesNotHoldTheWAL(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, s, store := newSlowlyStored(t)
	got, err := s.live(ctx)
	must(t, err)
	to := filepath.Join(t.TempDir(), "stored.db")
	must(t, os.WriteFile(to, store.got.Bytes(), 0o600))
	if n := checkBank(t, to); n != 1001 || got.root.Size != int64(store.got.Len()) {
		t.Errorf("%d transfers are stored, of %x", n, sha256.Sum256(store.got.Bytes()))
	}
	if left, _ := os.ReadDir(s.scratch); len(left) > 0 {
		t.Errorf("left in the scratch folder: %v", left)
	}
} // Where the rest cannot be put aside the backup ends, and the WAL is let go of.
func TestASlowStoreEndsWhereTheRestCannotBePutAside(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	db, s, _ := newSlowlyStored(t)
	s.scratch = filepath.Join(s.at.Path(), "no folder")
	if _, err := s.live(ctx); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("stored without a place for the rest: %v", err)
	}
	var busy, pages, taken int
	must(t, db.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &taken))
	if busy != 0 {
		t.Error("somebody still reads")
	}
}
