package source

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
)

// storing is the storing of one database as it stands in one transaction, for
// whatever source the database belongs to.
//
// Nothing of the database is changed where that can be helped. While no file
// beside it has anything that belongs into it, and nobody writes, its own bytes
// are the state: they are read, and a second look tells whether they stayed so.
// What a killed application left is put in order in a copy. Only a database that
// is in use is read through SQLite.
type storing struct {
	w       chunkWriter
	at      fsx.Place
	scratch string // a folder for a temporary copy

	// In tests, otherwise than bounded and openSnapshot have them.
	walGrowth int64
	walEvery  time.Duration
	wait      time.Duration
}

// stored is a database's state, and what the database was like just before.
type stored struct {
	root  pack.Stream
	facts sqliteFacts
	look  databaseLook
}

// store is what storing is for.
func (s *storing) store(ctx context.Context) (stored, error) {
	for try := 1; ; try++ {
		before, err := lookAt(s.at)
		if err != nil {
			return stored{}, err
		}
		got, err := s.once(ctx, before, try == maxReads)
		if err == nil {
			got.look = before
			got.facts.Fingerprint = before.print
			return got, nil
		}
		if !errors.Is(err, errDatabaseChanged) || try == maxReads {
			return stored{}, SayFull(err, 0, filepath.Dir(s.at.Path()), s.scratch)
		}
	}
}

// errDatabaseChanged says that a database changed while it was read otherwise
// than through SQLite.
var errDatabaseChanged = errors.New("the database changed while it was read")

// once stores the database in the way that fits how it looks; the last time, in
// the one way that stands writers.
func (s *storing) once(ctx context.Context, before databaseLook, last bool) (stored, error) {
	switch {
	case last:
	case before.quiet():
		return s.plain(ctx, s.at, before)
	case !before.held && before.pageSize() > 0:
		got, err := s.copied(ctx, before)
		if !errors.Is(err, unix.ENOSPC) {
			return got, err
		}
	}
	got, err := s.live(ctx)
	if cannotOpen(err) {
		return s.copied(ctx, before)
	}
	return got, err
}

// cannotOpen tells whether SQLite cannot work with a file where it lies: on a
// file system that is read-only, or at a path that is too long.
func cannotOpen(err error) bool {
	switch resultCode(err) {
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return true
	}
	return false
}

// plain stores the bytes of a database file that nobody writes to.
func (s *storing) plain(ctx context.Context, at fsx.Place, before databaseLook) (_ stored, err error) {
	f, err := at.Open()
	if err != nil {
		return stored{}, err
	}
	defer openedHere.close(before.id(), f)
	facts := before.facts()
	root, err := s.w.Write(ctx, io.LimitReader(f, facts.Size), pack.Database)
	if err != nil {
		return stored{}, err
	}
	after, err := lookAt(at)
	if err != nil {
		return stored{}, err
	}
	if root.Size != facts.Size || after.print != before.print || !after.quiet() {
		return stored{}, errDatabaseChanged
	}
	return stored{root: root, facts: facts}, nil
}

// copied copies a database with what is beside it, has SQLite put the copy in
// order, and stores that.
func (s *storing) copied(ctx context.Context, before databaseLook) (_ stored, err error) {
	if err := makeScratch(s.scratch); err != nil {
		return stored{}, err
	}
	dir, err := os.MkdirTemp(s.scratch, "dump-*")
	if err != nil {
		return stored{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	to, err := fsx.Resolve(filepath.Join(dir, "database"))
	if err != nil {
		return stored{}, err
	}
	defer to.Close()
	for _, side := range []string{"", "-journal", "-wal"} {
		if err := copyFile(s.at.With(side), to.With(side), before.id()); err != nil && (side == "" || !errors.Is(err, os.ErrNotExist)) {
			return stored{}, fmt.Errorf("copy %s to put it in order: %w", s.at.Path(), err)
		}
	}
	after, err := lookAt(s.at)
	if err != nil {
		return stored{}, err
	}
	if after.print != before.print {
		return stored{}, errDatabaseChanged
	}
	snap, err := openSnapshot(ctx, to)
	if err != nil {
		return stored{}, err
	}
	// The last one who closes a database leaves nothing beside it.
	if err := snap.Close(); err != nil {
		return stored{}, err
	}
	inOrder, err := lookAt(to)
	if err != nil {
		return stored{}, err
	}
	if !inOrder.quiet() {
		return stored{}, fmt.Errorf("put a copy of %s in order: SQLite left something beside it", s.at.Path())
	}
	got, err := s.plain(ctx, to, inOrder)
	got.facts.take(before.stat)
	return got, err
}

// copyFile copies a file that is, or belongs to, a database.
func copyFile(from, to fsx.Place, of fileID) error {
	f, err := from.Open()
	if err != nil {
		return err
	}
	defer openedHere.close(of, f)
	return to.Dir.Write(to.Name, func(w *os.File) error {
		_, err := io.Copy(w, f)
		return err
	})
}

// live stores a database that is in use.
func (s *storing) live(ctx context.Context) (stored, error) {
	snap, err := openSnapshotWithin(ctx, s.at, cmp.Or(s.wait, busyTimeout))
	if err != nil {
		return stored{}, err
	}
	root, err := s.pages(ctx, snap)
	if err = errors.Join(err, snap.Close()); err != nil {
		return stored{}, err
	}
	if root.Size != snap.facts.Size {
		return stored{}, fmt.Errorf("read %d bytes of %s instead of %d", root.Size, s.at.Path(), snap.facts.Size)
	}
	return stored{root: root, facts: snap.facts}, nil
}

// pages stores the snapshot's pages. A reader of a WAL database holds nobody
// up, so they go straight to w as long as the WAL stays small; in the other modes it keeps writers from
// committing, so they go to a temporary file first, which is much quicker than
// a bucket.
func (s *storing) pages(ctx context.Context, snap *snapshot) (_ pack.Stream, err error) {
	pages, err := snap.pages(ctx)
	if err != nil {
		return pack.Stream{}, err
	}
	defer func() { err = errors.Join(err, pages.Close()) }()
	if snap.facts.JournalMode == "wal" {
		b := s.bounded(snap, pages)
		defer func() { err = errors.Join(err, b.Close()) }()
		return s.w.Write(ctx, b, pack.Database)
	}
	spool, err := spoolPages(pages, s.scratch)
	if err != nil {
		return pack.Stream{}, err
	}
	defer spool.Close()
	if err := errors.Join(pages.Close(), snap.Close()); err != nil {
		return pack.Stream{}, err
	}
	return s.w.Write(ctx, spool, pack.Database)
}

// spoolPages copies r to a temporary file that no crash leaves behind, and
// returns the file, at its start.
func spoolPages(r io.Reader, scratch string) (_ *os.File, err error) {
	if err := makeScratch(scratch); err != nil {
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
