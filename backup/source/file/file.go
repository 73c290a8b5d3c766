// Package file is the kind of source that is a single file and no database. What lies
// beside the file belongs to somebody else.
package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/reading"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/volume"
)

const kind = "file"

func init() {
	source.Register(source.Kind{
		Name: kind, Files: true, Export: exportEntry, Compare: source.CompareBytes,
		SameStage: sameFile, Lost: source.LostOutput,
	})
}

// Config describes a single file that is no database.
type Config struct {
	// Path is the file, or a symbolic link to it.
	Path string
	// Now tells the time; nil for time.Now.
	Now func() time.Time
}

// Source is a single file that is no database, and what lies beside it belongs to
// somebody else. It is replaced in the way of a database file: by a rename, with
// what was there kept beside it.
type Source struct {
	name     string
	cfg      Config
	settling *reading.Settling
	// fault, in tests, stops the swap after the named step.
	fault func(step string) error
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
)

// New makes a source of one file.
func New(name string, cfg Config) (*Source, error) {
	if cfg.Path == "" {
		return nil, fmt.Errorf("source %s: file: path is missing", name)
	}
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("source %s: file: %w", name, err)
	}
	cfg.Path = path
	if cfg.Now == nil {
		cfg.Now = time.Now //nolint:forbidigo // the default
	}
	return &Source{name: name, cfg: cfg, settling: reading.NewSettling(), fault: swap.NoFault}, nil
}

// Name implements Source.
func (s *Source) Name() string { return s.name }

// Kind implements Source.
func (s *Source) Kind() string { return kind }

// Place implements Placed.
func (s *Source) Place() (string, error) { return fsx.RealPath(s.cfg.Path) }

// At implements Placed.
func (s *Source) At(place string) source.Source {
	there := *s
	there.cfg.Path = place
	return &there
}

// Check looks whether the file can be read, and its folder written to. When the
// file is missing the error wraps fs.ErrNotExist.
func (s *Source) Check(context.Context) error { return s.check(false) }

// CheckRestore is the part of Check that a restore needs: neither the file nor the
// folders above it have to exist, because they are made.
func (s *Source) CheckRestore(context.Context) error { return s.check(true) }

func (s *Source) check(mayMiss bool) error {
	return s.do("check", func(at *swap.File) error {
		if err := at.CheckObstacles(); err != nil {
			return err
		}
		if err := swap.CheckWritable(at.Place); err != nil {
			return err
		}
		f, _, err := openPlain(at.Place)
		if errors.Is(err, fs.ErrNotExist) && mayMiss {
			return nil
		}
		if err != nil {
			return err
		}
		return f.Close()
	})
}

// do does something where the path leads now.
func (s *Source) do(verb string, what func(*swap.File) error) error {
	err := fsx.At(s.cfg.Path, func(p fsx.Place) error { return what(&swap.File{Place: p, Fault: s.fault}) })
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, s.name, err)
	}
	return nil
}

// Staged is the path of the staged file.
func (s *Source) Staged() string {
	return swap.Besides(fsx.RealPathOr(s.cfg.Path), "staged")
}

// Space implements Restorer.
func (s *Source) Space(e source.Entry) (string, int64) {
	return filepath.Dir(fsx.RealPathOr(s.cfg.Path)), e.Size // Stage reports a path that leads nowhere
}

// Accept implements Restorer.
func (s *Source) Accept(_ context.Context, e source.Entry) error {
	if err := json.Unmarshal(e.Facts, new(Facts)); err != nil {
		return fmt.Errorf("source %s: read facts: %w", s.name, err)
	}
	return nil
}

// Fingerprint implements Restorer.
func (s *Source) Fingerprint(context.Context) (print string, err error) {
	err = s.do("look at the stage of", func(at *swap.File) error {
		print, err = at.Fingerprint()
		return err
	})
	return print, err
}

// Swap implements Restorer.
func (s *Source) Swap(context.Context) error { return s.do("swap", (*swap.File).Swap) }

// SwapBack implements Restorer.
func (s *Source) SwapBack(context.Context) error { return s.do("swap back", (*swap.File).SwapBack) }

// Discard implements Restorer.
func (s *Source) Discard(context.Context) error { return s.do("discard", (*swap.File).Discard) }

// Sweep implements Sweeper.
func (s *Source) Sweep(ctx context.Context) (left []source.Leftover, err error) {
	err = s.do("delete what is left of", func(at *swap.File) error {
		left, err = at.Dropped().Sweep(ctx)
		return err
	})
	return left, err
}

// Live implements Openable.
func (s *Source) Live() (places []holder.Place, err error) {
	err = s.do("find", func(at *swap.File) error {
		places = at.Places(at.Name)
		return nil
	})
	return places, err
}

// Replaced implements Openable.
func (s *Source) Replaced() (places []holder.Place, err error) {
	err = s.do("find", func(at *swap.File) error {
		places = at.Places(at.Replaced())
		return nil
	})
	return places, err
}

// Volumes implements source.Voluminous.
func (s *Source) Volumes() ([]volume.Volume, error) { return volume.OfFile(s.cfg.Path) }

// missingFile says that there is nothing to back up.
func missingFile(path string) error {
	return fmt.Errorf("there is no file at %s: check the path, or start the application once: %w", path, fs.ErrNotExist)
}

// openPlain opens a regular file that is no database.
func openPlain(at fsx.Place) (f *os.File, st unix.Stat_t, err error) {
	f, err = at.Open()
	if errors.Is(err, fsx.ErrNotFile) {
		return nil, st, fmt.Errorf("%s is not a regular file: give the source the kind that fits it, such as directory", at.Path())
	}
	if err != nil {
		return nil, st, err
	}
	fd := int(f.Fd())
	switch err = unix.Fstat(fd, &st); {
	case err != nil:
		err = &fs.PathError{Op: "stat", Path: at.Path(), Err: err}
	case sqlitefile.Is(fd):
		err = fmt.Errorf("%s is a SQLite database: give the source the kind sqlite", at.Path())
	}
	if err != nil {
		return nil, st, errors.Join(err, f.Close())
	}
	return f, st, nil
}
