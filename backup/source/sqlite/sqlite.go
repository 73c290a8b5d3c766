// Package sqlite is the kind of source that is the file of a SQLite database. It is
// dumped as it stands in one transaction, while the application writes. Package
// directory stores the databases in a directory with it.
package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/inodeflag"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

const kind = "sqlite"

func init() {
	source.Register(source.Kind{
		Name: kind, Export: exportEntry, Compare: compare,
		SameStage: sameOwner, Lost: source.LostFacts[Facts], Since: since, MaybeFull: maybeFull,
	})
}

// Config describes a SQLite database file.
type Config struct {
	// Path is the database file, or a symbolic link to it. Its folder exists
	// where it is dumped.
	Path string
	// Scratch is a folder for a temporary copy, which a dump needs when the
	// database is not in WAL mode.
	Scratch string
	// Now tells the time; nil for time.Now.
	Now func() time.Time
}

// Source is one SQLite database file.
//
// A dump is the file itself, page for page, as it stands in one transaction:
// pages that did not change are the same bytes in the next dump.
type Source struct {
	swap.Single
	scratch string
	now     func() time.Time
	sound   *Soundness
}

var (
	_ source.Source         = (*Source)(nil)
	_ source.Placed         = (*Source)(nil)
	_ source.Sweeper        = (*Source)(nil)
	_ source.Stager         = (*Source)(nil)
	_ source.RestoreChecker = (*Source)(nil)
	_ source.Openable       = (*Source)(nil)
	_ source.Voluminous     = (*Source)(nil)
	_ source.Rereader       = (*Source)(nil)
	_ source.Positioner     = (*Source)(nil)
)

// New makes a SQLite source.
func New(name string, cfg Config) (*Source, error) {
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
	if cfg.Now == nil {
		cfg.Now = time.Now //nolint:forbidigo // the default
	}
	if err := sqlitefile.OwnLocks(); err != nil {
		return nil, fmt.Errorf("source %s: sqlite: %w", name, err)
	}
	return &Source{
		Single:  swap.Single{Called: name, Path: path, Sides: sqlitefile.Sides, Fault: swap.NoFault},
		scratch: cfg.Scratch, now: cfg.Now, sound: NewSoundness(),
	}, nil
}

// Facts are what the manifest says of a database file.
type Facts struct {
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
	Xattrs []tree.Xattr `json:"xattrs,omitempty"`
	// Parents are the folders above the file, the nearest one first.
	Parents []meta.Parent `json:"parents,omitempty"`
	// Fingerprint changes with every commit on the host that dumped.
	Fingerprint string `json:"fingerprint"`
}

// Kind implements Source.
func (s *Source) Kind() string { return kind }

// Check opens the database, and looks whether its folder can be written to.
// When nothing but the database is missing the error wraps fs.ErrNotExist.
func (s *Source) Check(ctx context.Context) error {
	if err := s.check(ctx, false); err != nil {
		return fmt.Errorf("source %s: %w", s.Called, err)
	}
	return nil
}

func missingDatabase(path string) error {
	return fmt.Errorf("there is no database at %s: check the path, or start the application once: %w", path, fs.ErrNotExist)
}

// CheckRestore is the part of Check that a restore needs: neither the database
// nor the folders above it have to exist, because they are made.
func (s *Source) CheckRestore(ctx context.Context) error {
	if err := s.check(ctx, true); err != nil {
		return fmt.Errorf("source %s: %w", s.Called, err)
	}
	return nil
}

// check opens the database, which may be missing.
func (s *Source) check(ctx context.Context, mayMiss bool) error {
	at, err := s.real()
	if err != nil {
		return err
	}
	defer at.Close()
	if err := (&swap.File{Place: at, Sides: sqlitefile.Sides}).CheckObstacles(); err != nil {
		return err
	}
	if err := swap.CheckWritable(at); err != nil {
		return err
	}
	if err := fsx.MakeScratch(s.scratch); err != nil {
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
func (s *Source) Dump(ctx context.Context, w *pack.Writer, prev *source.Previous) (source.Entry, error) {
	e, err := s.dump(ctx, w, prev)
	if err != nil {
		return source.Entry{}, fmt.Errorf("dump %s: %w", s.Called, err)
	}
	return e, nil
}

func (s *Source) dump(ctx context.Context, w *pack.Writer, prev *source.Previous) (source.Entry, error) {
	at, err := s.real()
	if err != nil {
		return source.Entry{}, err
	}
	defer at.Close()
	print, err := Fingerprint(at)
	if errors.Is(err, fs.ErrNotExist) {
		return source.Entry{}, missingDatabase(at.Path())
	}
	if err != nil {
		return source.Entry{}, err
	}
	warnings, err := fileWarnings(at)
	if err != nil {
		return source.Entry{}, err
	}
	if e, ok := s.keep(w, prev, at, print); ok {
		e.Damaged = prev.Entry.Damaged
		e.Warnings = append(warnings, DamageWarnings(e.Damaged)...)
		return e, nil
	}
	got, err := (&Storing{W: w, At: at, Scratch: s.scratch}).Store(ctx)
	if err != nil {
		return source.Entry{}, err
	}
	if err := got.Facts.describe(at); err != nil {
		return source.Entry{}, err
	}
	e, err := s.entry(got.Root, got.Facts)
	var before []string
	if prev != nil {
		before = prev.Entry.Damaged
	}
	e.Damaged = s.sound.Begin(s.now).Damage(ctx, at, got, before)
	e.Warnings = append(warnings, DamageWarnings(e.Damaged)...)
	return e, err
}

// DamageWarnings says what is wrong with the live databases.
func DamageWarnings(damaged []string) []string {
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
	flags, err := inodeflag.Warnings(at)
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

func (s *Source) entry(root pack.Stream, facts Facts) (source.Entry, error) {
	raw, err := json.Marshal(facts)
	if err != nil {
		return source.Entry{}, err
	}
	return source.Entry{Kind: s.Kind(), Name: s.Called, Size: root.Size, Root: root, Facts: raw}, nil
}

// keep takes the previous dump over when nothing was committed since.
func (s *Source) keep(w *pack.Writer, prev *source.Previous, at fsx.Place, print string) (source.Entry, bool) {
	if prev == nil || prev.Entry.Kind != s.Kind() {
		return source.Entry{}, false
	}
	var facts Facts
	if err := json.Unmarshal(prev.Entry.Facts, &facts); err != nil || facts.Fingerprint != print {
		return source.Entry{}, false
	}
	if err := facts.describe(at); err != nil {
		return source.Entry{}, false
	}
	e, err := s.entry(prev.Entry.Root, facts)
	return e, err == nil && w.Keep(e.Root)
}

// describe takes over what the database itself does not tell: its owner's
// names, its extended attributes, and the folders above it.
func (f *Facts) describe(at fsx.Place) (err error) {
	names := meta.NewOwnerNames()
	f.User, f.Group = names.User(f.UID), names.Group(f.GID)
	if f.Xattrs, err = meta.PathXattrs(at.Held()).Read(); err != nil {
		return &fs.PathError{Op: "read extended attributes of", Path: at.Path(), Err: err}
	}
	f.Parents, err = meta.ParentsOf(at.Dir)
	return err
}

// exportEntry writes the database file, with its metadata.
func exportEntry(ctx context.Context, r *pack.Reader, e source.Entry, at fsx.Place) error {
	var facts Facts
	if err := json.Unmarshal(e.Facts, &facts); err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	return fsx.NewFile(at.Dir, at.Name, func(f *os.File) error {
		if err := chunks.Copy(ctx, r, e.Root, f); err != nil {
			return err
		}
		return meta.Give(ctx, f, e.Name, facts.node(at.Name), nil)
	})
}
