package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/opened"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
)

// BusyTimeout is how long a read waits for a writer.
const BusyTimeout = time.Minute

// snapshot is a read transaction of a database that other processes write.
type snapshot struct {
	db      *sql.DB
	conn    *sql.Conn
	facts   Facts
	release func() // of opened.Here
}

// openSnapshot begins a read transaction. The database is opened for writing,
// though nothing is written: SQLite must be able to roll back what a killed
// application left half-done.
func openSnapshot(ctx context.Context, at fsx.Place) (*snapshot, error) {
	return openSnapshotWithin(ctx, at, BusyTimeout)
}

// openSnapshotWithin waits otherwise long for a writer.
func openSnapshotWithin(ctx context.Context, at fsx.Place, wait time.Duration) (*snapshot, error) {
	release, err := opened.Here.Hold(at)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", sqlitefile.URI(at.Held(), fmt.Sprintf("mode=rw&_pragma=busy_timeout(%d)", wait.Milliseconds())))
	if err != nil {
		release()
		return nil, err
	}
	s := &snapshot{db: db, release: release}
	if s.conn, err = db.Conn(ctx); err == nil {
		err = s.begin(ctx, at)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", at.Path(), whyNot(at, err)), s.Close())
	}
	return s, nil
}

// whyNot names the file of a database that this user may not open: SQLite does not say why
// it could not.
func whyNot(at fsx.Place, err error) error {
	switch sqlitefile.ResultCode(err) {
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY:
	default:
		return err
	}
	for _, side := range append([]string{""}, sqlitefile.Sides...) {
		if unix.Faccessat(at.Dir.FD(), at.Name+side, unix.R_OK|unix.W_OK, unix.AT_EACCESS) == unix.EACCES {
			return fmt.Errorf("%w: this user may not read and write %s: %w", err, at.With(side).Path(), fs.ErrPermission)
		}
	}
	return err
}

// begin begins the transaction with a first read, and gathers the facts in it.
func (s *snapshot) begin(ctx context.Context, at fsx.Place) error {
	if _, err := s.conn.ExecContext(ctx, "BEGIN"); err != nil {
		return err
	}
	f := &s.facts
	for _, q := range []struct {
		sql string
		to  any
	}{
		{"SELECT count(*) = 0 FROM sqlite_schema", &f.Empty},
		{"PRAGMA page_size", &f.PageSize},
		{"PRAGMA page_count", &f.PageCount},
		{"PRAGMA user_version", &f.UserVersion},
		{"PRAGMA application_id", &f.ApplicationID},
		{"PRAGMA journal_mode", &f.JournalMode},
	} {
		if err := s.conn.QueryRowContext(ctx, q.sql).Scan(q.to); err != nil {
			return err
		}
	}
	f.Size = f.PageSize * f.PageCount
	st, err := at.Stat()
	if err != nil {
		return err
	}
	f.take(st)
	return nil
}

// Close ends the transaction. It may be called again.
func (s *snapshot) Close() error {
	defer s.release()
	if s.conn != nil {
		// Closing the connection ends the transaction as well.
		if err := s.conn.Close(); err != nil && !errors.Is(err, sql.ErrConnDone) {
			return errors.Join(err, s.db.Close())
		}
	}
	return s.db.Close()
}

// pages reads the database's pages in order, as of the snapshot, through
// SQLite's own page cache: what is still in the WAL is read from there.
func (s *snapshot) pages(ctx context.Context) (*pageReader, error) {
	rows, err := s.conn.QueryContext(ctx, "SELECT data FROM sqlite_dbpage ORDER BY pgno") //nolint:rowserrcheck // by the reader
	if err != nil {
		return nil, fmt.Errorf("read pages: %w", err)
	}
	return &pageReader{rows: rows}, nil
}

// pageReader reads rows of pages as one stream.
type pageReader struct {
	rows *sql.Rows
	page sql.RawBytes
	rest []byte // of page
}

// Read implements io.Reader. It fills p as far as it can.
func (r *pageReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(r.rest) == 0 {
			if err := r.next(); err != nil {
				if n > 0 && err == io.EOF {
					return n, nil
				}
				return n, err
			}
		}
		m := copy(p[n:], r.rest)
		n, r.rest = n+m, r.rest[m:]
	}
	return n, nil
}

func (r *pageReader) next() error {
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return fmt.Errorf("read page: %w", err)
		}
		return io.EOF
	}
	if err := r.rows.Scan(&r.page); err != nil {
		return fmt.Errorf("read page: %w", err)
	}
	r.rest = r.page
	return nil
}

// Close implements io.Closer. It may be called again.
func (r *pageReader) Close() error { return r.rows.Close() }

// The parts of the files beside a database that tell of commits: the database
// header with the change counter, the WAL header with its salts, and both
// copies of the WAL index header in the shared memory, which count commits.
const (
	headerSize      = 100
	walHeaderSize   = 32
	indexHeaderSize = 96
)

// Fingerprint returns a digest that every commit changes. An error wraps
// fs.ErrNotExist when there is no database.
func Fingerprint(at fsx.Place) (string, error) {
	st, err := at.Stat()
	if err != nil {
		return "", err
	}
	h, id := sha256.New(), opened.FileIDOf(&st)
	for _, part := range []struct {
		side  string
		head  int64
		times times // readers touch the shared memory, and whoever opens a WAL its inode
	}{{"", headerSize, allTimes}, {"-wal", walHeaderSize, writeTime}, {"-shm", indexHeaderSize, noTimes}} {
		err := hashHead(h, at.With(part.side), part.head, part.times, id)
		if err != nil && (part.side == "" || !errors.Is(err, fs.ErrNotExist)) {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// times is how much a file's inode counts in a fingerprint.
type times int

const (
	noTimes   times = iota
	writeTime       // identity, size and mtime
	allTimes        // ctime too
)

// hashHead hashes a file's first bytes and, if asked to, identity and times. of
// is the database that the file is, or belongs to.
func hashHead(h io.Writer, at fsx.Place, head int64, t times, of opened.FileID) error {
	f, err := at.Open()
	if err != nil {
		return err
	}
	defer opened.Here.Close(of, f)
	fmt.Fprintln(h, at.Path())
	if t >= writeTime {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			fmt.Fprintln(h, st.Ino)
			if t == allTimes {
				fmt.Fprintln(h, st.Ctim.Sec, st.Ctim.Nsec)
			}
		}
		fmt.Fprintln(h, info.Size(), info.ModTime().UnixNano())
	}
	_, err = io.Copy(h, io.LimitReader(f, head))
	return err
}
