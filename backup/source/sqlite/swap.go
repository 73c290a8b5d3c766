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
func (s *Source) real() (fsx.Place, error) { return fsx.Resolve(s.Path) }

// At implements Placed.
func (s *Source) At(place string) source.Source {
	there := *s
	there.Path = place
	return &there
}

// Accept implements Restorer.
func (s *Source) Accept(context.Context, source.Entry) error { return nil }

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
	return s.Do("stage", func(at *swap.File) error {
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
