package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// parent is a folder above a source's path, as it is on the host that dumps. A
// host that has none of that name gets one like it.
type parent struct {
	Name  string `json:"name"`
	Mode  uint32 `json:"mode"` // with set-gid and sticky bits
	UID   uint32 `json:"uid"`
	GID   uint32 `json:"gid"`
	User  string `json:"user,omitempty"`
	Group string `json:"group,omitempty"`
}

// maxParents keeps a manifest small. Nobody's application is deeper.
const maxParents = 8

// parentsOf describes the folders above path, the nearest one first. Those of
// the root of the file system are the host's own.
func parentsOf(path string) ([]parent, error) {
	names := newOwnerNames()
	var all []parent
	for dir := filepath.Dir(path); dir != filepath.Dir(dir) && len(all) < maxParents; dir = filepath.Dir(dir) {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			return nil, &fs.PathError{Op: "stat", Path: dir, Err: err}
		}
		all = append(all, parent{
			Name: filepath.Base(dir), Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid,
			User: names.user(st.Uid), Group: names.group(st.Gid),
		})
	}
	return all, nil
}

// makeParents makes the folders above path that are missing, durably. Each is
// like the one of the same name at the same height above the source where that
// was dumped; one that has no such model belongs to this process, for all to
// read. Folders that exist are left as they are. A rollback leaves the made
// ones, which are empty then.
func makeParents(path string, models []parent) error {
	var missing []string // the nearest one first
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		there, err := exists(dir)
		if err != nil {
			return err
		}
		if there || dir == filepath.Dir(dir) {
			break
		}
		missing = append(missing, dir)
	}
	known := 0
	for known < min(len(missing), len(models)) && filepath.Base(missing[known]) == models[known].Name {
		known++
	}
	for i, dir := range slices.Backward(missing) {
		model := parent{Mode: 0o755, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
		if i < known {
			model = models[i]
		}
		if err := model.make(dir); err != nil {
			return fmt.Errorf("make the folder of %s, which this host lacks: %w", path, err)
		}
	}
	return nil
}

func (p parent) make(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	mode := p.Mode
	if os.Geteuid() == 0 {
		ids := newOwnerIDs()
		if err := os.Lchown(dir, int(ids.user(p.User, p.UID)), int(ids.group(p.Group, p.GID))); err != nil {
			return err
		}
	} else {
		mode |= 0o700 // this process still has to make something in it
	}
	// After the owner, which takes bits of the mode away.
	if err := unix.Chmod(dir, mode); err != nil {
		return &fs.PathError{Op: "change mode of", Path: dir, Err: err}
	}
	return syncFolder(filepath.Dir(dir))
}

// nearest is the folder at path or, where that is missing, the first one above
// it that exists.
func nearest(path string) (string, error) {
	for {
		there, err := exists(path)
		if err != nil || there || path == filepath.Dir(path) {
			return path, err
		}
		path = filepath.Dir(path)
	}
}

// checkWritable fails where a folder, or the first one that exists above it,
// does not let this process make something in it.
func checkWritable(folder string) error {
	at, err := nearest(folder)
	if err != nil {
		return err
	}
	if err := unix.Access(at, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("write to %s: %w", at, err)
	}
	return nil
}
