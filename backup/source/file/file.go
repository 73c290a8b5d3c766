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
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/reading"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
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
	swap.Single
	now      func() time.Time
	settling *reading.Settling
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
	if cfg.Now == nil {
		cfg.Now = time.Now //nolint:forbidigo // the default
	}
	return &Source{
		Single: swap.Single{Called: name, Path: path, Fault: swap.NoFault},
		now:    cfg.Now, settling: reading.NewSettling(),
	}, nil
}

// Kind implements Source.
func (s *Source) Kind() string { return kind }

// At implements Placed.
func (s *Source) At(place string) source.Source {
	there := *s
	there.Path = place
	return &there
}

// Check looks whether the file can be read, and its folder written to. When the
// file is missing the error wraps fs.ErrNotExist.
func (s *Source) Check(context.Context) error { return s.check(false) }

// CheckRestore is the part of Check that a restore needs: neither the file nor the
// folders above it have to exist, because they are made.
func (s *Source) CheckRestore(context.Context) error { return s.check(true) }

func (s *Source) check(mayMiss bool) error {
	return s.Do("check", func(at *swap.File) error {
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

// Accept implements Restorer.
func (s *Source) Accept(_ context.Context, e source.Entry) error {
	if err := json.Unmarshal(e.Facts, new(Facts)); err != nil {
		return fmt.Errorf("source %s: read facts: %w", s.Called, err)
	}
	return nil
}

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
