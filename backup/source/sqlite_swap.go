package source

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
)

// The state of a swap can be read off the files (S staged, B the database, R
// replaced, A absent: a marker that there was no database; R-wal etc. the side
// files set aside):
//
//	S, B or no B          staged
//	S, B, R-wal …         side files are being moved, forward or back
//	S, no B, R or A       about to be put into place, or just taken back
//	B, R or A             swapped
//
// Every step is one rename or one removal, made durable before the next. Side
// files go before the database and come back after it, so that no database
// ever has another's side files beside it.

// real is the database file that the path leads to now.
func (s *SQLite) real() (fsx.Place, error) { return fsx.Resolve(s.cfg.Path) }

// Place implements Placed.
func (s *SQLite) Place() (string, error) { return resolveTarget(s.cfg.Path) }

// At implements Placed.
func (s *SQLite) At(place string) Source {
	there := *s
	there.cfg.Path = place
	return &there
}

// do does something where the path leads now.
func (s *SQLite) do(verb string, what func(*sqliteSite) error) error {
	err := atPlace(s.cfg.Path, func(p fsx.Place) error {
		return what(&sqliteSite{Place: p, sides: sides, fault: s.fault})
	})
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, s.name, err)
	}
	return nil
}

// Staged is the path of the staged database file.
func (s *SQLite) Staged() string {
	return besides(placeOr(s.cfg.Path), "staged")
}

// Space implements Restorer.
func (s *SQLite) Space(e Entry) (string, int64) {
	return filepath.Dir(placeOr(s.cfg.Path)), e.Size // Stage reports a path that leads nowhere
}

// Accept implements Restorer.
func (s *SQLite) Accept(context.Context, Entry) error { return nil }

// Seal implements Restorer. What SQLite keeps beside a database belongs to it.
func (s *SQLite) Seal(context.Context) (seal string, err error) {
	err = s.do("look at the stage of", func(at *sqliteSite) error {
		seal, err = at.seal()
		return err
	})
	return seal, err
}

// sameOwner tells whether two dumps gave the file the same mode, owner and
// extended attributes.
func sameOwner(a, b Entry) bool {
	var x, y sqliteFacts
	if json.Unmarshal(a.Facts, &x) != nil || json.Unmarshal(b.Facts, &y) != nil {
		return false
	}
	return x.Mode == y.Mode && x.UID == y.UID && x.GID == y.GID && x.User == y.User && x.Group == y.Group && sameXattrs(x.Xattrs, y.Xattrs)
}

// Stage implements Restorer. The earlier stage stays until the new one is
// whole.
func (s *SQLite) Stage(ctx context.Context, r *pack.Reader, e Entry) error {
	return s.do("stage", func(at *sqliteSite) error {
		var facts sqliteFacts
		if err := json.Unmarshal(e.Facts, &facts); err != nil {
			return fmt.Errorf("read facts: %w", err)
		}
		return at.stage(facts.parents(at.Place), func(f *os.File) error { return facts.build(ctx, r, e, f) })
	})
}

// build fills the file that is to be staged: verified, and its owner's.
func (f *sqliteFacts) build(ctx context.Context, r *pack.Reader, e Entry, to *os.File) error {
	if err := copyStream(ctx, r, e.Root, to); err != nil {
		return err
	}
	if err := to.Sync(); err != nil {
		return err
	}
	findings, err := examineFile(ctx, to)
	if err != nil {
		return err
	}
	if err := judge(ctx, "", findings); err != nil {
		return err
	}
	return stageMeta(ctx, to, e.Name, f.node(filepath.Base(to.Name())))
}

// parents are the models of the folders above the database. A backup of an
// earlier version has none: then its folder, to which the application writes,
// gets the database's owner.
func (f *sqliteFacts) parents(at fsx.Place) []parent {
	if len(f.Parents) > 0 {
		return f.Parents
	}
	return []parent{{
		Name: filepath.Base(filepath.Dir(at.Path())), Mode: 0o755,
		UID: f.UID, GID: f.GID, User: f.User, Group: f.Group,
	}}
}

// Swap implements Restorer.
func (s *SQLite) Swap(context.Context) error {
	return s.do("swap", (*sqliteSite).swap)
}

// SwapBack implements Restorer.
func (s *SQLite) SwapBack(context.Context) error {
	return s.do("swap back", (*sqliteSite).swapBack)
}

// Discard implements Restorer.
func (s *SQLite) Discard(context.Context) error {
	return s.do("discard", (*sqliteSite).discard)
}

// Sweep implements Sweeper.
func (s *SQLite) Sweep(ctx context.Context) (left []Leftover, err error) {
	err = s.do("delete what is left of", func(at *sqliteSite) error {
		left, err = at.dropped().sweep(ctx)
		return err
	})
	return left, err
}
