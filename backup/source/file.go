package source

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
)

func init() {
	Register(Kind{
		Name: "file", Files: true, Export: exportFile, Compare: compareCommands,
		SameStage: sameFile, Lost: LostOutput,
	})
}

// FileConfig describes a single file that is no database.
type FileConfig struct {
	// Path is the file, or a symbolic link to it.
	Path string
	// Now tells the time; nil for time.Now.
	Now func() time.Time
}

// File is a single file that is no database, and what lies beside it belongs to
// somebody else. It is replaced in the way of a database file: by a rename, with
// what was there kept beside it.
type File struct {
	name     string
	cfg      FileConfig
	settling *settling
	// fault, in tests, stops the swap after the named step.
	fault func(step string) error
}

var (
	_ Source         = (*File)(nil)
	_ Placed         = (*File)(nil)
	_ Sweeper        = (*File)(nil)
	_ RestoreChecker = (*File)(nil)
	_ Openable       = (*File)(nil)
	_ Voluminous     = (*File)(nil)
	_ Rereader       = (*File)(nil)
)

// NewFile makes a source of one file.
func NewFile(name string, cfg FileConfig) (*File, error) {
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
	return &File{name: name, cfg: cfg, settling: newSettling(), fault: noFault}, nil
}

// Name implements Source.
func (s *File) Name() string { return s.name }

// Kind implements Source.
func (s *File) Kind() string { return "file" }

// Place implements Placed.
func (s *File) Place() (string, error) { return resolveTarget(s.cfg.Path) }

// At implements Placed.
func (s *File) At(place string) Source {
	there := *s
	there.cfg.Path = place
	return &there
}

// Check looks whether the file can be read, and its folder written to. When the
// file is missing the error wraps fs.ErrNotExist.
func (s *File) Check(context.Context) error { return s.check(false) }

// CheckRestore is the part of Check that a restore needs: neither the file nor the
// folders above it have to exist, because they are made.
func (s *File) CheckRestore(context.Context) error { return s.check(true) }

func (s *File) check(mayMiss bool) error {
	return s.do("check", func(at *sqliteSite) error {
		if err := at.checkObstacles(); err != nil {
			return err
		}
		if err := checkWritable(at.Place); err != nil {
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
func (s *File) do(verb string, what func(*sqliteSite) error) error {
	err := atPlace(s.cfg.Path, func(p fsx.Place) error { return what(&sqliteSite{Place: p, fault: s.fault}) })
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, s.name, err)
	}
	return nil
}

// Staged is the path of the staged file.
func (s *File) Staged() string {
	return besides(placeOr(s.cfg.Path), "staged")
}

// Space implements Restorer.
func (s *File) Space(e Entry) (string, int64) {
	return filepath.Dir(placeOr(s.cfg.Path)), e.Size // Stage reports a path that leads nowhere
}

// Accept implements Restorer.
func (s *File) Accept(_ context.Context, e Entry) error {
	if err := json.Unmarshal(e.Facts, new(fileFacts)); err != nil {
		return fmt.Errorf("source %s: read facts: %w", s.name, err)
	}
	return nil
}

// Seal implements Restorer.
func (s *File) Seal(context.Context) (seal string, err error) {
	err = s.do("look at the stage of", func(at *sqliteSite) error {
		seal, err = at.seal()
		return err
	})
	return seal, err
}

// Swap implements Restorer.
func (s *File) Swap(context.Context) error { return s.do("swap", (*sqliteSite).swap) }

// SwapBack implements Restorer.
func (s *File) SwapBack(context.Context) error { return s.do("swap back", (*sqliteSite).swapBack) }

// Discard implements Restorer.
func (s *File) Discard(context.Context) error { return s.do("discard", (*sqliteSite).discard) }

// Sweep implements Sweeper.
func (s *File) Sweep(ctx context.Context) (left []Leftover, err error) {
	err = s.do("delete what is left of", func(at *sqliteSite) error {
		left, err = at.dropped().sweep(ctx)
		return err
	})
	return left, err
}

// Live implements Openable.
func (s *File) Live() (places []holder.Place, err error) {
	err = s.do("find", func(at *sqliteSite) error {
		places = at.places(at.Name)
		return nil
	})
	return places, err
}

// Replaced implements Openable.
func (s *File) Replaced() (places []holder.Place, err error) {
	err = s.do("find", func(at *sqliteSite) error {
		places = at.places(at.replaced())
		return nil
	})
	return places, err
}

// Volumes implements source.Voluminous.
func (s *File) Volumes() ([]Volume, error) { return fileVolumes(s.cfg.Path) }

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
	case isDatabase(fd):
		err = fmt.Errorf("%s is a SQLite database: give the source the kind sqlite", at.Path())
	}
	if err != nil {
		return nil, st, errors.Join(err, f.Close())
	}
	return f, st, nil
}
