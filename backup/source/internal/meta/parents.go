package meta

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// Parent is a folder above a source's path, as it is on the host that dumps. A
// host that has none of that name gets one like it.
type Parent struct {
	Name  string `json:"name"`
	Mode  uint32 `json:"mode"` // with set-gid and sticky bits
	UID   uint32 `json:"uid"`
	GID   uint32 `json:"gid"`
	User  string `json:"user,omitempty"`
	Group string `json:"group,omitempty"`
}

// maxParents keeps a manifest small. Nobody's application is deeper.
const maxParents = 8

// ParentsOf describes a folder and those above it, the nearest one first. Those of
// the root of the file system are the host's own.
func ParentsOf(folder *fsx.Dir) ([]Parent, error) {
	chain, err := folder.Chain(maxParents)
	if err != nil {
		return nil, err
	}
	names := NewOwnerNames()
	all := make([]Parent, len(chain))
	path := folder.Path()
	for i, st := range chain {
		all[i] = Parent{
			Name: filepath.Base(path), Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid,
			User: names.User(st.Uid), Group: names.Group(st.Gid),
		}
		path = filepath.Dir(path)
	}
	return all, nil
}

// MakeParents makes the folders above a place that are missing, durably, and has
// the place in the last one. Each is
// like the one of the same name at the same height above the source where that
// was dumped; one that has no such model belongs to this process, for all to
// read. Folders that exist are left as they are. A rollback leaves the made
// ones, which are empty then.
func MakeParents(p *fsx.Place, models []Parent) error {
	// The nearest one first, as in models.
	missing := slices.Clone(p.Missing)
	slices.Reverse(missing)
	known := 0
	for known < min(len(missing), len(models)) && missing[known] == models[known].Name {
		known++
	}
	for i, name := range slices.Backward(missing) {
		model := Parent{Mode: 0o755, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
		if i < known {
			model = models[i]
		}
		made, err := model.Make(p.Dir, name)
		if err != nil {
			return fmt.Errorf("make the folder of %s, which this host lacks: %w", p.Path(), err)
		}
		p.Close()
		p.Dir, p.Missing = made, p.Missing[1:]
	}
	return nil
}

// Make makes the folder, and holds it. One that is there by now is left as it is.
func (p Parent) Make(in *fsx.Dir, name string) (*fsx.Dir, error) {
	made, err := in.Make(name)
	if errors.Is(err, fs.ErrExist) {
		return in.OpenDir(name)
	}
	if err != nil {
		return nil, err
	}
	if err := errors.Join(p.give(made), in.Sync()); err != nil {
		made.Close()
		return nil, err
	}
	return made, nil
}

// give gives a new folder its owner and its mode.
func (p Parent) give(made *fsx.Dir) error {
	mode := p.Mode
	if os.Geteuid() == 0 {
		ids := NewOwnerIDs()
		if err := unix.Fchown(made.FD(), int(ids.user(p.User, p.UID)), int(ids.group(p.Group, p.GID))); err != nil {
			return &fs.PathError{Op: "change owner of", Path: made.Path(), Err: err}
		}
	} else {
		mode |= 0o700 // this process still has to make something in it
	}
	// After the owner, which takes bits of the mode away.
	if err := unix.Fchmod(made.FD(), mode); err != nil {
		return &fs.PathError{Op: "change mode of", Path: made.Path(), Err: err}
	}
	return nil
}
