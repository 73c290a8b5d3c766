package source

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// soundDatabases are the paths of the databases in a dumped directory that can
// be held to SQLite's own check.
func soundDatabases(ctx context.Context, r chunkReader, e Entry) (map[string]bool, error) {
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
func examine(ctx context.Context, path string, in *openFolder, file string) error {
	fd, err := fsx.Beneath(in.fd, file, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	findings, err := examineFile(ctx, f)
	if cannotOpen(err) {
		findings, err = Findings{Unchecked: []string{"it could not be opened to be checked: " + reason(err)}}, nil
	}
	if err != nil {
		return err
	}
	return judge(ctx, path, findings)
}

// clearSides removes what readers of a stage left beside its databases: it
// belonged to the databases that were there before.
func clearSides(root *openFolder, databases map[string]bool) error {
	for path := range databases {
		if err := clearSidesOf(root, path); err != nil {
			return err
		}
	}
	return nil
}

func clearSidesOf(root *openFolder, path string) error {
	in, names := root.hold(), strings.Split(filepath.Dir(path), "/")
	defer func() { in.release() }()
	for _, name := range names {
		if name == "." {
			continue
		}
		next, err := in.folder(name)
		if vanished(err) {
			return nil
		}
		if err != nil {
			return err
		}
		in.release()
		in = next
	}
	for _, side := range sides {
		err := unix.Unlinkat(in.fd, filepath.Base(path)+side, 0)
		if err != nil && !vanished(err) && err != unix.EISDIR {
			return err
		}
	}
	return nil
}
