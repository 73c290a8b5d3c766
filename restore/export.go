package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
)

// ErrNotEmpty means that the folder to export to has something in it. It was
// not touched.
var ErrNotEmpty = errors.New("folder is not empty")

// exportEntry is source.Export, replaced in tests.
type exportEntry func(ctx context.Context, r *pack.Reader, e source.Entry, path string) error

// Export writes every source of a backup under dir, one entry per source,
// named after it. dir must be missing or empty. If it fails it leaves nothing
// behind; with source.WithLosses in ctx it fails only when nothing more could be
// written. progress may be nil.
func Export(ctx context.Context, r *pack.Reader, m *backup.Manifest, dir string, progress func(backup.Progress)) error {
	if err := export(ctx, r, m, dir, progress, source.Export); err != nil {
		return fmt.Errorf("export backup %s: %w", m.ID, err)
	}
	return nil
}

func export(ctx context.Context, r *pack.Reader, m *backup.Manifest, dir string, progress func(backup.Progress), entry exportEntry) (err error) {
	if err := checkNames(m.Sources); err != nil {
		return err
	}
	made, err := makeEmpty(dir)
	if errors.Is(err, ErrNotEmpty) {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, undoExport(m.Sources, dir, made))
		}
	}()
	if err != nil {
		return err
	}
	return eachEntry(m.Sources, progress, func(_ int, e source.Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return entry(ctx, r, e, filepath.Join(dir, e.Name))
	})
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

// makeEmpty makes sure that dir is there and empty, and gives the outermost
// folder that it made for that, or "".
func makeEmpty(dir string) (made string, err error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		made = outermostMissing(dir)
		return made, os.MkdirAll(dir, 0o700)
	case err == nil && len(entries) > 0:
		return "", fmt.Errorf("%w: %s: choose a folder that is missing or empty", ErrNotEmpty, dir)
	}
	return "", err
}

func outermostMissing(path string) string {
	for {
		parent := filepath.Dir(path)
		if _, err := os.Lstat(parent); parent == path || !errors.Is(err, fs.ErrNotExist) {
			return path
		}
		path = parent
	}
}

// undoExport removes what an export has made.
func undoExport(entries []source.Entry, dir, made string) error {
	if made != "" {
		return os.RemoveAll(made)
	}
	var errs []error
	for _, e := range entries {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name)))
	}
	return errors.Join(errs...)
}
