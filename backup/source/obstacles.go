package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// A swap renames. What refuses that is looked for before anything is begun, as
// nobody has time for it in the midst of a promotion.

// fixed says which inode flag keeps a thing from being renamed or deleted, and
// how to clear it; "" for none. A kernel that does not tell has none.
func fixed(dir int, name string) (flag, clear string, st unix.Statx_t) {
	_, err := retry(func() (int, error) {
		return 0, unix.Statx(dir, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS, &st)
	})
	switch {
	case err != nil:
		return "", "", unix.Statx_t{}
	case st.Attributes&unix.STATX_ATTR_IMMUTABLE != 0:
		return "immutable", "chattr -i", st
	case st.Attributes&unix.STATX_ATTR_APPEND != 0:
		return "append-only", "chattr -a", st
	}
	return "", "", st
}

// checkRename fails where what is at a place, which may be missing, cannot be given
// another name in its folder.
func checkRename(at fsx.Place) error {
	if len(at.Missing) > 0 {
		return nil
	}
	path, folder := at.Path(), at.Dir.Path()
	flag, clear, above := fixed(at.Dir.FD(), ".")
	if flag != "" {
		return fmt.Errorf("nothing in %s can be replaced, because that folder is %s: %s %s", folder, flag, clear, folder)
	}
	flag, clear, st := fixed(at.Dir.FD(), at.Name)
	if flag != "" {
		return fmt.Errorf("%s cannot be replaced, because it is %s: %s %s", path, flag, clear, path)
	}
	return checkSticky(path, above, st)
}

// checkSticky fails where a thing belongs to somebody else, in a folder of
// somebody else in which everybody may rename what is theirs alone.
func checkSticky(path string, above, st unix.Statx_t) error {
	me := uint32(os.Geteuid())
	if st.Nlink == 0 || me == 0 || above.Mode&unix.S_ISVTX == 0 || above.Uid == me || st.Uid == me {
		return nil
	}
	return fmt.Errorf("%s cannot be replaced, because it belongs to another user, in a folder with the sticky bit: run the agent as that user or as root, or name a folder that is the application's", path)
}

// checkMoves fails where something in a folder cannot be moved into another one.
func checkMoves(at fsx.Place) error {
	folder := at.Path()
	flag, clear, above := fixed(at.Dir.FD(), at.Name)
	if flag != "" {
		return fmt.Errorf("nothing in %s can be replaced, because it is %s: %s %s", folder, flag, clear, folder)
	}
	found, err := inFolder(at, func(dir *openFolder, name string) string {
		flag, clear, st := fixed(dir.fd, name)
		path := filepath.Join(folder, name)
		switch {
		case flag != "":
			return fmt.Sprintf("%q is %s (%s)", name, flag, clear)
		case checkSticky(path, above, st) != nil, st.Mode&unix.S_IFMT == unix.S_IFDIR && !mine(st) && !writable(dir, name):
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
func writable(dir *openFolder, name string) bool {
	return unix.Faccessat(dir.fd, name, unix.W_OK|unix.X_OK, unix.AT_EACCESS) == nil
}

// maxNamed is how many things a message names.
const maxNamed = 5

// inFolder asks about each name that a swap would move, and gives the answers that
// say something, at most a few of them.
func inFolder(at fsx.Place, ask func(dir *openFolder, name string) string) (found []string, err error) {
	dir, err := openRoot(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.release()
	names, err := dir.names(make([]byte, 64<<10))
	if err != nil {
		return nil, &fs.PathError{Op: "list", Path: at.Path(), Err: err}
	}
	more := 0
	for _, name := range names {
		if name == stageFolder || name == lostAndFound {
			continue
		}
		text := ask(dir, name)
		switch {
		case text == "":
		case len(found) == maxNamed:
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
	return checkRename(at)
}

// checkObstacles fails where a swap of the file would be refused.
func (s *sqliteSite) checkObstacles() error {
	for _, name := range append(s.withSides(s.Name), s.Name) {
		at := s.Place
		at.Name = name
		if err := checkRename(at); err != nil {
			return err
		}
	}
	return nil
}

// Lasting says what of a source's live state could not be deleted once a swap has
// replaced it, as far as a look at the top of it tells. That keeps nothing from
// working, and takes room.
func Lasting(ctx context.Context, src Source) ([]string, error) {
	var d *Directory
	switch src := src.(type) {
	case *Directory:
		d = src
	case *Prometheus:
		d = src.tree
	default:
		return nil, nil // a file that can be renamed can be deleted
	}
	at, err := fsx.Resolve(d.cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("look at source %s: %w", src.Name(), err)
	}
	defer at.Close()
	found, err := inFolder(at, func(dir *openFolder, name string) string {
		flag, _, st := fixed(dir.fd, name)
		switch {
		case flag != "":
			return fmt.Sprintf("%q is %s", name, flag)
		case st.Mode&unix.S_IFMT == unix.S_IFDIR && !mine(st) && !writable(dir, name) && st.Nlink > 0:
			return fmt.Sprintf("%q is another user's folder", name)
		}
		return ""
	})
	if err != nil {
		return nil, fmt.Errorf("look at source %s: %w", src.Name(), err)
	}
	return found, ctx.Err()
}
