package swap

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
	"github.com/understudy-ha/understudy/backup/source/volume"
)

// A swap renames. What refuses that is looked for before anything is begun, as
// nobody has time for it in the midst of a promotion.

// Fixed says which inode flag keeps a thing from being renamed or deleted, and
// how to clear it; "" for none. A kernel that does not tell has none.
func Fixed(dir int, name string) (flag, clear string, st unix.Statx_t) {
	_, err := opendir.Retry(func() (int, error) {
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

// CheckRename fails where what is at a place, which may be missing, cannot be given
// another name in its folder.
func CheckRename(at fsx.Place) error {
	if len(at.Missing) > 0 {
		return nil
	}
	path, folder := at.Path(), at.Dir.Path()
	flag, clear, above := Fixed(at.Dir.FD(), ".")
	if flag != "" {
		return fmt.Errorf("nothing in %s can be replaced, because that folder is %s: %s %s", folder, flag, clear, folder)
	}
	flag, clear, st := Fixed(at.Dir.FD(), at.Name)
	if flag != "" {
		return fmt.Errorf("%s cannot be replaced, because it is %s: %s %s", path, flag, clear, path)
	}
	return CheckSticky(path, above, st)
}

// CheckSticky fails where a thing belongs to somebody else, in a folder of
// somebody else in which everybody may rename what is theirs alone.
func CheckSticky(path string, above, st unix.Statx_t) error {
	me := uint32(os.Geteuid())
	if st.Nlink == 0 || me == 0 || above.Mode&unix.S_ISVTX == 0 || above.Uid == me || st.Uid == me {
		return nil
	}
	return fmt.Errorf("%s cannot be replaced, because it belongs to another user, in a folder with the sticky bit: run the agent as that user or as root, or name a folder that is the application's", path)
}

// CheckWritable fails where the folder of a place, or the first one above it that
// exists, does not let this process make something in it.
func CheckWritable(p fsx.Place) error {
	if err := unix.Faccessat(p.Dir.FD(), ".", unix.W_OK|unix.X_OK, 0); err != nil {
		return fmt.Errorf("write to %s: %w", p.Dir.Path(), err)
	}
	return nil
}

// IsMountPoint tells whether a file system is mounted at a place.
func IsMountPoint(p fsx.Place) (bool, error) {
	here, err := p.Stat()
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	above, err := p.Dir.Self()
	if err != nil {
		return false, err
	}
	mounts, err := volume.MountPoints()
	return here.Dev != above.Dev || slices.Contains(mounts, p.Path()), err
}

// CheckPlace tells whether the folder at a place (which may be missing) can be
// replaced by way of a folder on the same file system. inside says that this is made
// in the folder itself.
func CheckPlace(p fsx.Place, inside bool) error {
	path := p.Path()
	if path == "/" {
		return errors.New("the root of a file system cannot be swapped; name a folder in it")
	}
	mounts, err := volume.MountPoints()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if strings.HasPrefix(m, path+"/") {
			return fmt.Errorf("%s is a mount point inside of %s, which therefore cannot be swapped; make it a source of its own, and name folders that hold no mount point", m, path)
		}
	}
	if inside {
		dir, err := p.Dir.OpenDir(p.Name)
		if err != nil {
			return err
		}
		defer dir.Close()
		p = fsx.Place{Dir: dir}
	}
	if err := CheckWritable(p); err != nil {
		return fmt.Errorf("stage a restore of %s beside it: %w", path, err)
	}
	return nil
}
