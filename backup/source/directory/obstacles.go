package directory

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
	"github.com/understudy-ha/understudy/backup/source/internal/stage"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
)

// checkMoves fails where something in a folder cannot be moved into another one.
func checkMoves(at fsx.Place) error {
	folder := at.Path()
	flag, clear, above := swap.Fixed(at.Dir.FD(), at.Name)
	if flag != "" {
		return fmt.Errorf("nothing in %s can be replaced, because it is %s: %s %s", folder, flag, clear, folder)
	}
	found, err := inDir(at, func(dir *opendir.Dir, name string) string {
		flag, clear, st := swap.Fixed(dir.FD, name)
		path := filepath.Join(folder, name)
		switch {
		case flag != "":
			return fmt.Sprintf("%q is %s (%s)", name, flag, clear)
		case swap.CheckSticky(path, above, st) != nil, st.Mode&unix.S_IFMT == unix.S_IFDIR && !mine(st) && !writable(dir, name):
			return fmt.Sprintf("%q belongs to another user", name)
		}
		return ""
	})
	if err != nil || len(found) == 0 {
		return err
	}
	return fmt.Errorf("what is in %s cannot be replaced entry by entry: %s", folder, strings.Join(found, ", "))
}

// mine tells whether this process may change a thing's mode.
func mine(st unix.Statx_t) bool { return os.Geteuid() == 0 || st.Uid == uint32(os.Geteuid()) }

// writable tells whether this process may make and remove something in a folder.
func writable(dir *opendir.Dir, name string) bool {
	return unix.Faccessat(dir.FD, name, unix.W_OK|unix.X_OK, unix.AT_EACCESS) == nil
}

// inDir asks about each name that a swap would move, and gives the answers that
// say something, at most a few of them.
func inDir(at fsx.Place, ask func(dir *opendir.Dir, name string) string) (found []string, err error) {
	dir, err := opendir.Open(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Release()
	names, err := dir.Names(make([]byte, 64<<10))
	if err != nil {
		return nil, &fs.PathError{Op: "list", Path: at.Path(), Err: err}
	}
	more := 0
	for _, name := range names {
		if name == stage.Folder || name == stage.LostAndFound {
			continue
		}
		text := ask(dir, name)
		switch {
		case text == "":
		case len(found) == source.MaxNamed:
			more++
		default:
			found = append(found, text)
		}
	}
	if more > 0 {
		found = append(found, fmt.Sprintf("and %d more", more))
	}
	return found, nil
}

// checkObstacles fails where a swap of the directory would be refused.
func checkObstacles(at fsx.Place, inside bool) error {
	if inside {
		return checkMoves(at)
	}
	return swap.CheckRename(at)
}

// Lasting implements source.Laster.
func (d *Source) Lasting() ([]string, error) {
	at, err := fsx.Resolve(d.cfg.Path)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	return inDir(at, func(dir *opendir.Dir, name string) string {
		flag, _, st := swap.Fixed(dir.FD, name)
		switch {
		case flag != "":
			return fmt.Sprintf("%q is %s", name, flag)
		case st.Mode&unix.S_IFMT == unix.S_IFDIR && !mine(st) && !writable(dir, name) && st.Nlink > 0:
			return fmt.Sprintf("%q is another user's folder", name)
		}
		return ""
	})
}
