package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
)

// real is the database file that the path leads to now.
func (s *Source) real() (fsx.Place, error) { return fsx.Resolve(s.cfg.Path) }

// Place implements Placed.
func (s *Source) Place() (string, error) { return fsx.RealPath(s.cfg.Path) }

// At implements Placed.
func (s *Source) At(place string) source.Source {
	there := *s
	there.cfg.Path = place
	return &there
}

// do does something where the path leads now.
func (s *Source) do(verb string, what func(*swap.File) error) error {
	err := fsx.At(s.cfg.Path, func(p fsx.Place) error {
		return what(&swap.File{Place: p, Sides: sqlitefile.Sides, Fault: s.fault})
	})
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, s.name, err)
	}
	return nil
}

// Staged is the path of the staged database file.
func (s *Source) Staged() string {
	return swap.Besides(fsx.RealPathOr(s.cfg.Path), "staged")
}

// Space implements Restorer.
func (s *Source) Space(e source.Entry) (string, int64) {
	return filepath.Dir(fsx.RealPathOr(s.cfg.Path)), e.Size // Stage reports a path that leads nowhere
}

// Accept implements Restorer.
func (s *Source) Accept(context.Context, source.Entry) error { return nil }

// Fingerprint implements Restorer. What SQLite keeps beside a database belongs to it.
func (s *Source) Fingerprint(context.Context) (print string, err error) {
	err = s.do("look at the stage of", func(at *swap.File) error {
		print, err = at.Fingerprint()
		return err
	})
	return print, err
}

// sameOwner tells whether two dumps gave the file the same mode, owner and
// extended attributes.
func sameOwner(a, b source.Entry) bool {
	var x, y Facts
	if json.Unmarshal(a.Facts, &x) != nil || json.Unmarshal(b.Facts, &y) != nil {
		return false
	}
	return x.Mode == y.Mode && x.UID == y.UID && x.GID == y.GID && x.User == y.User && x.Group == y.Group && meta.SameXattrs(x.Xattrs, y.Xattrs)
}

// Stage implements Restorer. The earlier stage stays until the new one is
// whole.
func (s *Source) Stage(ctx context.Context, r *pack.Reader, e source.Entry) error {
	return s.do("stage", func(at *swap.File) error {
		var facts Facts
		if err := json.Unmarshal(e.Facts, &facts); err != nil {
			return fmt.Errorf("read facts: %w", err)
		}
		return at.Stage(facts.parents(at.Place), func(f *os.File) error { return facts.build(ctx, r, e, f) })
	})
}

// build fills the file that is to be staged: verified, and its owner's.
func (f *Facts) build(ctx context.Context, r *pack.Reader, e source.Entry, to *os.File) error {
	if err := chunks.Copy(ctx, r, e.Root, to); err != nil {
		return err
	}
	if err := to.Sync(); err != nil {
		return err
	}
	findings, err := sqlitefile.Examine(ctx, to)
	if err != nil {
		return err
	}
	if err := source.Judge(ctx, "", findings); err != nil {
		return err
	}
	return meta.GiveStage(ctx, to, e.Name, f.node(filepath.Base(to.Name())))
}

// parents are the models of the folders above the database. A backup of an
// earlier version has none: then its folder, to which the application writes,
// gets the database's owner.
func (f *Facts) parents(at fsx.Place) []meta.Parent {
	if len(f.Parents) > 0 {
		return f.Parents
	}
	return []meta.Parent{{
		Name: filepath.Base(filepath.Dir(at.Path())), Mode: 0o755,
		UID: f.UID, GID: f.GID, User: f.User, Group: f.Group,
	}}
}

// Swap implements Restorer.
func (s *Source) Swap(context.Context) error {
	return s.do("swap", (*swap.File).Swap)
}

// SwapBack implements Restorer.
func (s *Source) SwapBack(context.Context) error {
	return s.do("swap back", (*swap.File).SwapBack)
}

// Discard implements Restorer.
func (s *Source) Discard(context.Context) error {
	return s.do("discard", (*swap.File).Discard)
}

// Sweep implements Sweeper.
func (s *Source) Sweep(ctx context.Context) (left []source.Leftover, err error) {
	err = s.do("delete what is left of", func(at *swap.File) error {
		left, err = at.Dropped().Sweep(ctx)
		return err
	})
	return left, err
}
