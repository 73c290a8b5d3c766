package source

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"modernc.org/sqlite"

	"github.com/understudy-ha/understudy/backup/pack"
)

// SQLiteConfig describes a SQLite database file.
type SQLiteConfig struct {
	// Path is the database file. Its folder exists where it is dumped.
	Path string
	// Scratch is a folder for a temporary copy, which a dump needs when the
	// database is not in WAL mode.
	Scratch string
}

// SQLite is one SQLite database file.
//
// A dump is the file itself, page for page, as it stands in one transaction:
// pages that did not change are the same bytes in the next dump.
type SQLite struct {
	name string
	cfg  SQLiteConfig
	// open is held while the database or a file beside it is open: closing
	// one descriptor of a file drops all of the process's locks on it.
	open sync.Mutex
	// fault, in tests, stops the swap after the named step.
	fault func(step string) error
}

var _ Source = (*SQLite)(nil)

// NewSQLite makes a SQLite source.
func NewSQLite(name string, cfg SQLiteConfig) (*SQLite, error) {
	switch {
	case cfg.Path == "":
		return nil, fmt.Errorf("source %s: sqlite: path is missing", name)
	case cfg.Scratch == "":
		return nil, fmt.Errorf("source %s: sqlite: scratch folder is missing", name)
	}
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("source %s: sqlite: %w", name, err)
	}
	cfg.Path = path
	if err := ownLocks(); err != nil {
		return nil, fmt.Errorf("source %s: sqlite: %w", name, err)
	}
	return &SQLite{name: name, cfg: cfg, fault: noFault}, nil
}

// ownLocks makes SQLite's locks on database files survive when something else
// in this process reads such a file: a directory source, for one.
var ownLocks = sync.OnceValue(func() error {
	_, err := sqlite.OFDLocking(true)
	if errors.Is(err, sqlite.ErrOFDLockingUnavailable) {
		return nil
	}
	return err
})

// sqliteFacts are what the manifest says of a database file.
type sqliteFacts struct {
	PageSize      int64  `json:"page_size"`
	PageCount     int64  `json:"page_count"`
	UserVersion   int64  `json:"user_version"`
	ApplicationID int64  `json:"application_id,omitempty"`
	JournalMode   string `json:"journal_mode"`
	Size          int64  `json:"size"`
	Mode          uint32 `json:"mode"` // permission bits
	UID           uint32 `json:"uid"`
	GID           uint32 `json:"gid"`
	User          string `json:"user,omitempty"`  // the name of UID, which counts where it is known
	Group         string `json:"group,omitempty"` // likewise
	// Parents are the folders above the file, the nearest one first.
	Parents []parent `json:"parents,omitempty"`
	// Fingerprint changes with every commit on the host that dumped.
	Fingerprint string `json:"fingerprint"`
}

// Name implements Source.
func (s *SQLite) Name() string { return s.name }

// Kind implements Source.
func (s *SQLite) Kind() string { return "sqlite" }

// Check opens the database, and looks whether its folder can be written to.
// When nothing but the database is missing the error wraps fs.ErrNotExist.
func (s *SQLite) Check(ctx context.Context) error {
	there, err := s.check(ctx)
	if err == nil && !there {
		err = s.missing()
	}
	if err != nil {
		return fmt.Errorf("source %s: %w", s.name, err)
	}
	return nil
}

func (s *SQLite) missing() error {
	return fmt.Errorf("there is no database at %s: check the path, or start the application once: %w", s.cfg.Path, fs.ErrNotExist)
}

// CheckRestore is the part of Check that a restore needs: neither the database
// nor the folders above it have to exist, because they are made.
func (s *SQLite) CheckRestore(ctx context.Context) error {
	if _, err := s.check(ctx); err != nil {
		return fmt.Errorf("source %s: %w", s.name, err)
	}
	return nil
}

// check opens the database, if it is there.
func (s *SQLite) check(ctx context.Context) (there bool, err error) {
	if err := checkWritable(filepath.Dir(s.cfg.Path)); err != nil {
		return false, err
	}
	if err := makeScratch(s.cfg.Scratch); err != nil {
		return false, err
	}
	if there, err := exists(s.cfg.Path); err != nil || !there {
		return false, err
	}
	s.open.Lock()
	defer s.open.Unlock()
	snap, err := openSnapshot(ctx, s.cfg.Path)
	if err != nil {
		return false, err
	}
	return true, snap.Close()
}

// Dump implements Source.
func (s *SQLite) Dump(ctx context.Context, w *pack.Writer, prev *Previous) (Entry, error) {
	e, err := s.dump(ctx, w, prev)
	if err != nil {
		return Entry{}, fmt.Errorf("dump %s: %w", s.name, err)
	}
	return e, nil
}

func (s *SQLite) dump(ctx context.Context, w *pack.Writer, prev *Previous) (Entry, error) {
	s.open.Lock()
	defer s.open.Unlock()
	// The fingerprint is taken first: a commit that comes after it shows in the
	// next one.
	print, err := fingerprint(s.cfg.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return Entry{}, s.missing()
	}
	if err != nil {
		return Entry{}, err
	}
	if e, ok := s.keep(w, prev, print); ok {
		return e, nil
	}
	snap, err := openSnapshot(ctx, s.cfg.Path)
	if err != nil {
		return Entry{}, err
	}
	root, err := s.write(ctx, w, snap)
	if err = errors.Join(err, snap.Close()); err != nil {
		return Entry{}, err
	}
	facts := snap.facts
	facts.Fingerprint = print
	if err := facts.describe(s.cfg.Path); err != nil {
		return Entry{}, err
	}
	if root.Size != facts.Size {
		return Entry{}, fmt.Errorf("read %d bytes of %s instead of %d", root.Size, s.cfg.Path, facts.Size)
	}
	return s.entry(root, facts)
}

func (s *SQLite) entry(root pack.Stream, facts sqliteFacts) (Entry, error) {
	raw, err := json.Marshal(facts)
	if err != nil {
		return Entry{}, err
	}
	return Entry{Kind: s.Kind(), Name: s.name, Size: root.Size, Root: root, Facts: raw}, nil
}

// keep takes the previous dump over when nothing was committed since.
func (s *SQLite) keep(w *pack.Writer, prev *Previous, print string) (Entry, bool) {
	if prev == nil || prev.Entry.Kind != s.Kind() {
		return Entry{}, false
	}
	var facts sqliteFacts
	if err := json.Unmarshal(prev.Entry.Facts, &facts); err != nil || facts.Fingerprint != print {
		return Entry{}, false
	}
	if err := facts.describe(s.cfg.Path); err != nil {
		return Entry{}, false
	}
	e, err := s.entry(prev.Entry.Root, facts)
	return e, err == nil && w.Keep(e.Root)
}

// describe takes over what the database itself does not tell: its owner's
// names, and the folders above it.
func (f *sqliteFacts) describe(path string) (err error) {
	names := newOwnerNames()
	f.User, f.Group = names.user(f.UID), names.group(f.GID)
	f.Parents, err = parentsOf(path)
	return err
}

// write stores the snapshot's pages. A reader of a WAL database holds nobody
// up, so they go straight to w; in the other modes it keeps writers from
// committing, so they go to a temporary file first, which is much quicker than
// a bucket.
func (s *SQLite) write(ctx context.Context, w *pack.Writer, snap *snapshot) (_ pack.Stream, err error) {
	pages, err := snap.pages(ctx)
	if err != nil {
		return pack.Stream{}, err
	}
	defer func() { err = errors.Join(err, pages.Close()) }()
	if snap.facts.JournalMode == "wal" {
		return w.Write(ctx, pages, pack.Database)
	}
	spool, err := s.spool(pages)
	if err != nil {
		return pack.Stream{}, err
	}
	defer spool.Close()
	if err := errors.Join(pages.Close(), snap.Close()); err != nil {
		return pack.Stream{}, err
	}
	return w.Write(ctx, spool, pack.Database)
}

// spool copies r to a temporary file that no crash leaves behind, and gives
// the file, at its start.
func (s *SQLite) spool(r io.Reader) (_ *os.File, err error) {
	if err := makeScratch(s.cfg.Scratch); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(s.cfg.Scratch, "dump-*")
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
		return nil, fmt.Errorf("copy database to %s: %w", s.cfg.Scratch, err)
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, err
}

// ownerOf gives a file's permission bits and owner.
func ownerOf(info fs.FileInfo) (mode, uid, gid uint32) {
	mode = uint32(info.Mode().Perm())
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		uid, gid = st.Uid, st.Gid
	}
	return mode, uid, gid
}

// integrity runs SQLite's own check on a file that nobody else uses, and
// leaves no file beside it.
func integrity(ctx context.Context, path string) (err error) {
	db, err := sql.Open("sqlite", sqliteURI(path, "mode=ro&immutable=1"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var said string
	err = db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&said)
	if err != nil && strings.Contains(err.Error(), "no such collation sequence") {
		return nil // only the application can order its indexes; the bytes are verified
	}
	if err != nil {
		return fmt.Errorf("check integrity of %s: %w", path, err)
	}
	if said != "ok" {
		return fmt.Errorf("check integrity of %s: %s", path, said)
	}
	return nil
}

// exportSQLite writes the database file to path.
func exportSQLite(ctx context.Context, r *pack.Reader, e Entry, path string) error {
	if err := streamToFile(ctx, r, e.Root, path, os.O_EXCL); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}
