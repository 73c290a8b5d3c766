package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
)

func init() {
	Register(Kind{
		Name: "sqlite", Export: exportSQLite, Compare: compareSQLite,
		SameStage: sameOwner, Lost: LostFacts[sqliteFacts], Since: sqliteSince, MaybeFull: sqliteMaybeFull,
	})
}

// SQLiteConfig describes a SQLite database file.
type SQLiteConfig struct {
	// Path is the database file, or a symbolic link to it. Its folder exists
	// where it is dumped.
	Path string
	// Scratch is a folder for a temporary copy, which a dump needs when the
	// database is not in WAL mode.
	Scratch string
	// Now tells the time; nil for time.Now.
	Now func() time.Time
}

// SQLite is one SQLite database file.
//
// A dump is the file itself, page for page, as it stands in one transaction:
// pages that did not change are the same bytes in the next dump.
type SQLite struct {
	name  string
	cfg   SQLiteConfig
	sound *soundness
	// fault, in tests, stops the swap after the named step.
	fault func(step string) error
}

var (
	_ Source         = (*SQLite)(nil)
	_ Placed         = (*SQLite)(nil)
	_ Sweeper        = (*SQLite)(nil)
	_ RestoreChecker = (*SQLite)(nil)
	_ Openable       = (*SQLite)(nil)
	_ Voluminous     = (*SQLite)(nil)
	_ Rereader       = (*SQLite)(nil)
	_ Positioner     = (*SQLite)(nil)
)

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
	if cfg.Now == nil {
		cfg.Now = time.Now //nolint:forbidigo // the default
	}
	if err := ownLocks(); err != nil {
		return nil, fmt.Errorf("source %s: sqlite: %w", name, err)
	}
	return &SQLite{name: name, cfg: cfg, fault: noFault, sound: newSoundness()}, nil
}

// ownLocks makes SQLite's locks on database files survive when something else
// in this process reads such a file: a directory source, for one. And it has SQLite
// open files in held folders.
var ownLocks = sync.OnceValue(func() error {
	if _, err := sqlite.OFDLocking(true); err != nil && !errors.Is(err, sqlite.ErrOFDLockingUnavailable) {
		return err
	}
	return openHeld()
})

// sqliteFacts are what the manifest says of a database file.
type sqliteFacts struct {
	PageSize      int64  `json:"page_size"`
	PageCount     int64  `json:"page_count"`
	Empty         bool   `json:"empty,omitempty"` // there is nothing in its schema
	UserVersion   int64  `json:"user_version"`
	ApplicationID int64  `json:"application_id,omitempty"`
	JournalMode   string `json:"journal_mode"`
	Size          int64  `json:"size"`
	Mode          uint32 `json:"mode"` // permission bits
	UID           uint32 `json:"uid"`
	GID           uint32 `json:"gid"`
	User          string `json:"user,omitempty"`  // the name of UID, which counts where it is known
	Group         string `json:"group,omitempty"` // likewise
	// Xattrs are the extended attributes; an ACL is such.
	Xattrs []Xattr `json:"xattrs,omitempty"`
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
	if err := s.check(ctx, false); err != nil {
		return fmt.Errorf("source %s: %w", s.name, err)
	}
	return nil
}

func missingDatabase(path string) error {
	return fmt.Errorf("there is no database at %s: check the path, or start the application once: %w", path, fs.ErrNotExist)
}

// CheckRestore is the part of Check that a restore needs: neither the database
// nor the folders above it have to exist, because they are made.
func (s *SQLite) CheckRestore(ctx context.Context) error {
	if err := s.check(ctx, true); err != nil {
		return fmt.Errorf("source %s: %w", s.name, err)
	}
	return nil
}

// check opens the database, which may be missing.
func (s *SQLite) check(ctx context.Context, mayMiss bool) error {
	at, err := s.real()
	if err != nil {
		return err
	}
	defer at.Close()
	if err := (&sqliteSite{Place: at, sides: sides}).checkObstacles(); err != nil {
		return err
	}
	if err := checkWritable(at); err != nil {
		return err
	}
	if err := makeScratch(s.cfg.Scratch); err != nil {
		return err
	}
	there, err := at.Exists()
	if err == nil && !there && !mayMiss {
		err = missingDatabase(at.Path())
	}
	if err != nil || !there {
		return err
	}
	snap, err := openSnapshot(ctx, at)
	if err != nil {
		return err
	}
	return snap.Close()
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
	at, err := s.real()
	if err != nil {
		return Entry{}, err
	}
	defer at.Close()
	print, err := fingerprint(at)
	if errors.Is(err, fs.ErrNotExist) {
		return Entry{}, missingDatabase(at.Path())
	}
	if err != nil {
		return Entry{}, err
	}
	warnings, err := fileWarnings(at)
	if err != nil {
		return Entry{}, err
	}
	if e, ok := s.keep(w, prev, at, print); ok {
		e.Damaged = prev.Entry.Damaged
		e.Warnings = append(warnings, damageWarnings(e.Damaged)...)
		return e, nil
	}
	got, err := (&storing{w: w, at: at, scratch: s.cfg.Scratch}).store(ctx)
	if err != nil {
		return Entry{}, err
	}
	if err := got.facts.describe(at); err != nil {
		return Entry{}, err
	}
	e, err := s.entry(got.root, got.facts)
	var before []string
	if prev != nil {
		before = prev.Entry.Damaged
	}
	e.Damaged = s.sound.begin(s.cfg.Now).damage(ctx, at, got, before)
	e.Warnings = append(warnings, damageWarnings(e.Damaged)...)
	return e, err
}

// damageWarnings says what is wrong with the live databases.
func damageWarnings(damaged []string) []string {
	if len(damaged) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("the live state is damaged, and so is this backup: %s", strings.Join(damaged, "; "))}
}

// fileWarnings says what is not kept of a database file.
func fileWarnings(at fsx.Place) ([]string, error) {
	links, err := linkWarnings(at)
	if err != nil {
		return nil, err
	}
	flags, err := flagWarnings(at)
	return append(links, flags...), err
}

// linkWarnings says what a database with several names is in danger of.
func linkWarnings(at fsx.Place) ([]string, error) {
	st, err := at.Stat()
	if err != nil || st.Nlink < 2 {
		return nil, err
	}
	return []string{fmt.Sprintf("%s has %d names (hard links): what is written through another one may not be in this backup, and after a restore that one is another file; use a symbolic link instead", at.Path(), st.Nlink)}, nil
}

func (s *SQLite) entry(root pack.Stream, facts sqliteFacts) (Entry, error) {
	raw, err := json.Marshal(facts)
	if err != nil {
		return Entry{}, err
	}
	return Entry{Kind: s.Kind(), Name: s.name, Size: root.Size, Root: root, Facts: raw}, nil
}

// keep takes the previous dump over when nothing was committed since.
func (s *SQLite) keep(w *pack.Writer, prev *Previous, at fsx.Place, print string) (Entry, bool) {
	if prev == nil || prev.Entry.Kind != s.Kind() {
		return Entry{}, false
	}
	var facts sqliteFacts
	if err := json.Unmarshal(prev.Entry.Facts, &facts); err != nil || facts.Fingerprint != print {
		return Entry{}, false
	}
	if err := facts.describe(at); err != nil {
		return Entry{}, false
	}
	e, err := s.entry(prev.Entry.Root, facts)
	return e, err == nil && w.Keep(e.Root)
}

// describe takes over what the database itself does not tell: its owner's
// names, its extended attributes, and the folders above it.
func (f *sqliteFacts) describe(at fsx.Place) (err error) {
	names := newOwnerNames()
	f.User, f.Group = names.user(f.UID), names.group(f.GID)
	if f.Xattrs, err = pathXattrs(at.Held()).read(); err != nil {
		return &fs.PathError{Op: "read extended attributes of", Path: at.Path(), Err: err}
	}
	f.Parents, err = parentsOf(at.Dir)
	return err
}

// exportSQLite writes the database file, with its metadata.
func exportSQLite(ctx context.Context, r *pack.Reader, e Entry, at fsx.Place) error {
	var facts sqliteFacts
	if err := json.Unmarshal(e.Facts, &facts); err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	return newFile(at.Dir, at.Name, func(f *os.File) error {
		if err := copyStream(ctx, r, e.Root, f); err != nil {
			return err
		}
		return giveMeta(ctx, f, e.Name, facts.node(at.Name), nil)
	})
}
