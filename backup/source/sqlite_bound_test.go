package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"io"
	"os"
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

// newSlowlyStored is a bank in WAL mode, which is held open, and a storing of it
// that bears little growth of the WAL. Its store waits for reading to end.
func newSlowlyStored(t *testing.T) (db *sql.DB, s *storing, store *slowStore) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.db")
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
	return db, &storing{w: store, at: placed(t, path), scratch: t.TempDir(), walGrowth: 64 << 10, walEvery: time.Millisecond}, store
}

// A store that stands still does not make the WAL grow without end: the snapshot
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
}

// slowDatabases is a slowStore for databases alone.
type slowDatabases struct {
	*slowStore
	others nullWriter
}

func (s slowDatabases) Write(ctx context.Context, r io.Reader, p pack.Profile) (pack.Stream, error) {
	if p == pack.Database {
		return s.slowStore.Write(ctx, r, p)
	}
	return s.others.Write(ctx, r, p)
}

// Nor does it where the database lies in a directory.
func TestASlowStoreDoesNotHoldTheWALOfADatabaseInADirectory(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, s, store := newSlowlyStored(t)
	d := newTestDirectory(t, filepath.Dir(s.at.Path()))
	d.storing = func(one *storing) { one.walGrowth, one.walEvery = s.walGrowth, s.walEvery }
	d.cfg.Scratch = s.scratch
	e, err := d.dump(ctx, slowDatabases{slowStore: store}, nil, nil)
	must(t, err)
	to := filepath.Join(t.TempDir(), "stored.db")
	must(t, os.WriteFile(to, store.got.Bytes(), 0o600))
	if n := checkBank(t, to); n != 1001 || factsOf(t, e).Databases != 1 {
		t.Errorf("%d transfers are stored: %s", n, e.Facts)
	}
	if left, _ := os.ReadDir(s.scratch); len(left) > 0 {
		t.Errorf("left in the scratch folder: %v", left)
	}
}

// Where the rest cannot be put aside the backup ends, and the WAL is let go of.
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
