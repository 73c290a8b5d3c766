package restore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
)

// ErrNotEmpty means that the folder to export to has something in it. It was
// not touched.
var ErrNotEmpty = errors.New("folder is not empty")

// exportEntry is source.ExportTo, replaced in tests.
type exportEntry func(ctx context.Context, r *pack.Reader, e source.Entry, at fsx.Place) error

// Export writes every source of a backup under dir, one entry per source,
// named after it. dir must be missing or empty. If it fails it leaves nothing
// behind; with source.WithLosses in ctx it fails only when nothing more could be
// written. progress may be nil.
func Export(ctx context.Context, r *pack.Reader, m *backup.Manifest, dir string, progress func(backup.Progress)) error {
	if err := export(ctx, r, m, dir, progress, source.ExportTo); err != nil {
		return fmt.Errorf("export backup %s: %w", m.ID, err)
	}
	return nil
}

func export(ctx context.Context, r *pack.Reader, m *backup.Manifest, dir string, progress func(backup.Progress), entry exportEntry) error {
	return exportAll(ctx, m.Sources, dir, progress, func(_ int, e source.Entry, at fsx.Place) error { return entry(ctx, r, e, at) })
}

// Part is one source's part of what a moment is made of.
type Part struct {
	Reader *pack.Reader // of the backup that Entry is of
	Entry  source.Entry
	Moment *source.Moment // nil: it is exported as it is
}

// ExportMoment is Export of parts of several backups, of which some are brought to a
// moment. It returns what each of these has reached.
func ExportMoment(ctx context.Context, parts []Part, dir string, progress func(backup.Progress)) (map[string]source.Reached, error) {
	entries := make([]source.Entry, len(parts))
	for i, p := range parts {
		entries[i] = p.Entry
	}
	reached := make(map[string]source.Reached)
	err := exportAll(ctx, entries, dir, progress, func(i int, e source.Entry, at fsx.Place) (err error) {
		if parts[i].Moment == nil {
			return source.ExportTo(ctx, parts[i].Reader, e, at)
		}
		reached[e.Name], err = source.ExportMoment(ctx, parts[i].Reader, e, at, *parts[i].Moment)
		return err
	})
	return reached, err
}

// exportAll exports entries into a folder, each by itself.
func exportAll(ctx context.Context, entries []source.Entry, dir string, progress func(backup.Progress), one func(i int, e source.Entry, at fsx.Place) error) (err error) {
	if err := checkNames(entries); err != nil {
		return err
	}
	to, err := openEmpty(ctx, dir)
	if err != nil {
		return err
	}
	defer to.close()
	err = eachEntry(entries, progress, func(i int, e source.Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := one(i, e, fsx.Place{Dir: to.dir, Name: e.Name}); err != nil {
			return fmt.Errorf("export %s: %w", e.Name, err)
		}
		return nil
	})
	if err != nil {
		err = errors.Join(err, to.undo(ctx, entries))
	}
	return err
}

// checkNames refuses names that are no plain file names, or the same twice.
func checkNames(entries []source.Entry) error {
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		if e.Name == "." || !filepath.IsLocal(e.Name) || filepath.Base(e.Name) != e.Name {
			return fmt.Errorf("the name %q of a source cannot be that of a file", e.Name)
		}
		if seen[e.Name] {
			return fmt.Errorf("two sources have the name %s", e.Name)
		}
		seen[e.Name] = true
	}
	return nil
}

// exported is the folder that is exported to. It is held: whoever owns the folders
// above may put another one in its place.
type exported struct {
	dir  *fsx.Dir
	made fsx.Place // the outermost folder that was made for that; its Dir is nil for none
}

func (x *exported) close() {
	x.dir.Close()
	x.made.Close() // of no folder: nothing
}

// openEmpty makes sure that dir is there and empty, and holds it.
func openEmpty(ctx context.Context, dir string) (*exported, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	p, err := fsx.Resolve(path)
	if err != nil {
		return nil, err
	}
	there, err := p.Exists()
	if err != nil {
		p.Close()
		return nil, err
	}
	if !there {
		return makeDirs(ctx, p)
	}
	defer p.Close()
	d, err := p.Dir.OpenDir(p.Name)
	if err != nil {
		return nil, err
	}
	names, err := d.Names()
	if err == nil && len(names) > 0 {
		err = fmt.Errorf("%w: %s: choose a folder that is missing or empty", ErrNotEmpty, dir)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return &exported{dir: d}, nil
}

// makeDirs makes the folders that are missing down to p, and p itself.
func makeDirs(ctx context.Context, p fsx.Place) (*exported, error) {
	names := append(slices.Clone(p.Missing), p.Name)
	x := &exported{made: p.Beside(names[0])}
	for at := p.Dir; len(names) > 0; names = names[1:] {
		next, err := at.Make(names[0])
		x.dir.Close()
		if err != nil {
			defer x.close()
			return nil, errors.Join(err, x.undo(ctx, nil))
		}
		x.dir, at = next, next
	}
	return x, nil
}

// undo removes what an export has made.
func (x *exported) undo(ctx context.Context, entries []source.Entry) error {
	if x.made.Dir != nil {
		return source.Remove(ctx, x.made)
	}
	var errs []error
	for _, e := range entries {
		errs = append(errs, source.Remove(ctx, fsx.Place{Dir: x.dir, Name: e.Name}))
	}
	return errors.Join(errs...)
}
