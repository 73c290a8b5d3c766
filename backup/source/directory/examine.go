package directory

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
	"github.com/understudy-ha/understudy/backup/source/sqlite"
)

// soundDatabases are the paths of the databases in a dumped directory that can
// be held to SQLite's own check.
func soundDatabases(ctx context.Context, r chunks.Reader, e source.Entry) (map[string]bool, error) {
	all, err := readDatabases(ctx, r, e)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	paths := make(map[string]bool, len(all))
	for _, one := range all {
		if one.Plain == "" {
			paths[one.Path] = true
		}
	}
	return paths, nil
}

// examine holds a database that has been restored to a file to SQLite's own
// check. Nobody else uses the file.
func examine(ctx context.Context, path string, in *opendir.Dir, file string) error {
	fd, err := fsx.Beneath(in.FD, file, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	findings, err := sqlitefile.Examine(ctx, f)
	if sqlite.CannotOpen(err) {
		findings, err = source.Findings{Unchecked: []string{"it could not be opened to be checked: " + sqlitefile.Reason(err)}}, nil
	}
	if err != nil {
		return err
	}
	return source.Judge(ctx, path, findings)
}

// clearSides removes what readers of a stage left beside its databases: it
// belonged to the databases that were there before.
func clearSides(root *opendir.Dir, databases map[string]bool) error {
	for path := range databases {
		if err := clearSidesOf(root, path); err != nil {
			return err
		}
	}
	return nil
}

func clearSidesOf(root *opendir.Dir, path string) error {
	in, names := root.Hold(), strings.Split(filepath.Dir(path), "/")
	defer func() { in.Release() }()
	for _, name := range names {
		if name == "." {
			continue
		}
		next, err := in.OpenDir(name)
		if opendir.Vanished(err) {
			return nil
		}
		if err != nil {
			return err
		}
		in.Release()
		in = next
	}
	for _, side := range sqlitefile.Sides {
		err := unix.Unlinkat(in.FD, filepath.Base(path)+side, 0)
		if err != nil && !opendir.Vanished(err) && err != unix.EISDIR {
			return err
		}
	}
	return nil
}
