package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/opened"
	"github.com/understudy-ha/understudy/backup/source/internal/reading"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
)

// Storing is the storing of one database as it stands in one transaction, for
// whatever source the database belongs to.
//
// Nothing of the database is changed where that can be helped. While no file
// beside it has anything that belongs into it, and nobody writes, its own bytes
// are the state: they are read, and a second look tells whether they stayed so.
// What a killed application left is put in order in a copy. Only a database that
// is in use is read through SQLite.
type Storing struct {
	W       chunks.Writer
	At      fsx.Place
	Scratch string // a folder for a temporary copy

	// In tests, otherwise than bounded and openSnapshot have them.
	WalGrowth int64
	WalEvery  time.Duration
	Wait      time.Duration
}

// Stored is a database's state, and what the database was like just before.
type Stored struct {
	Root  pack.Stream
	Facts Facts
	Look  DatabaseLook
}

// Store is what storing is for.
func (s *Storing) Store(ctx context.Context) (Stored, error) {
	for try := 1; ; try++ {
		before, err := LookAt(s.At)
		if err != nil {
			return Stored{}, err
		}
		got, err := s.once(ctx, before, try == reading.MaxReads)
		if err == nil {
			got.Look = before
			got.Facts.Fingerprint = before.Print
			return got, nil
		}
		if !errors.Is(err, ErrDatabaseChanged) || try == reading.MaxReads {
			return Stored{}, source.SayFull(err, 0, filepath.Dir(s.At.Path()), s.Scratch)
		}
	}
}

// ErrDatabaseChanged says that a database changed while it was read otherwise
// than through SQLite.
var ErrDatabaseChanged = errors.New("the database changed while it was read")

// once stores the database in the way that fits how it looks; the last time, in
// the one way that stands writers.
func (s *Storing) once(ctx context.Context, before DatabaseLook, last bool) (Stored, error) {
	switch {
	case last:
	case before.Quiet():
		return s.plain(ctx, s.At, before)
	case !before.Held && before.pageSize() > 0:
		got, err := s.Copied(ctx, before)
		if !errors.Is(err, unix.ENOSPC) {
			return got, err
		}
	}
	got, err := s.live(ctx)
	if CannotOpen(err) {
		return s.Copied(ctx, before)
	}
	return got, err
}

// CannotOpen tells whether SQLite cannot work with a file where it lies: on a
// file system that is read-only, or at a path that is too long.
func CannotOpen(err error) bool {
	switch sqlitefile.ResultCode(err) {
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return true
	}
	return false
}

// plain stores the bytes of a database file that nobody writes to.
func (s *Storing) plain(ctx context.Context, at fsx.Place, before DatabaseLook) (_ Stored, err error) {
	f, err := at.Open()
	if err != nil {
		return Stored{}, err
	}
	defer opened.Here.Close(before.ID(), f)
	facts := before.facts()
	root, err := s.W.Write(ctx, io.LimitReader(f, facts.Size), pack.Database)
	if err != nil {
		return Stored{}, err
	}
	after, err := LookAt(at)
	if err != nil {
		return Stored{}, err
	}
	if root.Size != facts.Size || after.Print != before.Print || !after.Quiet() {
		return Stored{}, ErrDatabaseChanged
	}
	return Stored{Root: root, Facts: facts}, nil
}

// Copied copies a database with what is beside it, has SQLite put the copy in
// order, and stores that.
func (s *Storing) Copied(ctx context.Context, before DatabaseLook) (_ Stored, err error) {
	if err := fsx.MakeScratch(s.Scratch); err != nil {
		return Stored{}, err
	}
	dir, err := os.MkdirTemp(s.Scratch, "dump-*")
	if err != nil {
		return Stored{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	to, err := fsx.Resolve(filepath.Join(dir, "database"))
	if err != nil {
		return Stored{}, err
	}
	defer to.Close()
	for _, side := range []string{"", "-journal", "-wal"} {
		if err := copyFile(s.At.With(side), to.With(side), before.ID()); err != nil && (side == "" || !errors.Is(err, os.ErrNotExist)) {
			return Stored{}, fmt.Errorf("copy %s to put it in order: %w", s.At.Path(), err)
		}
	}
	after, err := LookAt(s.At)
	if err != nil {
		return Stored{}, err
	}
	if after.Print != before.Print {
		return Stored{}, ErrDatabaseChanged
	}
	snap, err := openSnapshot(ctx, to)
	if err != nil {
		return Stored{}, err
	}
	// The last one who closes a database leaves nothing beside it.
	if err := snap.Close(); err != nil {
		return Stored{}, err
	}
	inOrder, err := LookAt(to)
	if err != nil {
		return Stored{}, err
	}
	if !inOrder.Quiet() {
		return Stored{}, fmt.Errorf("put a copy of %s in order: SQLite left something beside it", s.At.Path())
	}
	got, err := s.plain(ctx, to, inOrder)
	got.Facts.take(before.Stat)
	return got, err
}

// copyFile copies a file that is, or belongs to, a database.
func copyFile(from, to fsx.Place, of opened.FileID) error {
	f, err := from.Open()
	if err != nil {
		return err
	}
	defer opened.Here.Close(of, f)
	return to.Dir.Write(to.Name, func(w *os.File) error {
		_, err := io.Copy(w, f)
		return err
	})
}

// live stores a database that is in use.
func (s *Storing) live(ctx context.Context) (Stored, error) {
	snap, err := openSnapshotWithin(ctx, s.At, cmp.Or(s.Wait, BusyTimeout))
	if err != nil {
		return Stored{}, err
	}
	root, err := s.pages(ctx, snap)
	if err = errors.Join(err, snap.Close()); err != nil {
		return Stored{}, err
	}
	if root.Size != snap.facts.Size {
		return Stored{}, fmt.Errorf("read %d bytes of %s instead of %d", root.Size, s.At.Path(), snap.facts.Size)
	}
	return Stored{Root: root, Facts: snap.facts}, nil
}

// pages stores the snapshot's pages. A reader of a WAL database holds nobody
// up, so they go straight to w as long as the WAL stays small; in the other modes it keeps writers from
// committing, so they go to a temporary file first, which is much quicker than
// a bucket.
func (s *Storing) pages(ctx context.Context, snap *snapshot) (_ pack.Stream, err error) {
	pages, err := snap.pages(ctx)
	if err != nil {
		return pack.Stream{}, err
	}
	defer func() { err = errors.Join(err, pages.Close()) }()
	if snap.facts.JournalMode == "wal" {
		b := s.bounded(snap, pages)
		defer func() { err = errors.Join(err, b.Close()) }()
		return s.W.Write(ctx, b, pack.Database)
	}
	spool, err := spoolPages(pages, s.Scratch)
	if err != nil {
		return pack.Stream{}, err
	}
	defer spool.Close()
	if err := errors.Join(pages.Close(), snap.Close()); err != nil {
		return pack.Stream{}, err
	}
	return s.W.Write(ctx, spool, pack.Database)
}

// spoolPages copies r to a temporary file that no crash leaves behind, and
// returns the file, at its start.
func spoolPages(r io.Reader, scratch string) (_ *os.File, err error) {
	if err := fsx.MakeScratch(scratch); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(scratch, "dump-*")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	if _, err := io.Copy(f, r); err != nil {
		return nil, fmt.Errorf("copy database to %s: %w", scratch, err)
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, err
}
