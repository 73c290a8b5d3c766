package directory

import (
	"fmt"
	"path/filepath"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
)

// renameSwap puts a staged folder in the place of another and back again. Each
// of its operations may be cut off at any point and run again, in a new
// process: what has been done is read off the names.
//
//	target      staged      replaced   marker
//	old or none –           –          –        before
//	old or none new         –          –        after stage
//	old or none new         –          new's    swap has begun
//	new         old or none –          new's    the one step that counts
//	new         –           old        new's    swap is done
//
// swapBack goes the same way up, from wherever it is; discard removes the
// marker first, and without it nothing but the target counts. The step that
// counts exchanges two names at once, which leaves the same names behind: that
// is why the marker holds the new folder's inode number.
type renameSwap struct {
	stagePaths
	aside       string                  // exists only where two names cannot be exchanged at once, and only for a moment
	switchNames func(a, b string) error // gives each what the other one had, at once
}

// renameNote is the content of the marker.
type renameNote struct {
	New uint64 `json:"new_inode"`
}

func newRenameSwap(p fsx.Place) *renameSwap {
	in := p.Dir
	if len(p.Missing) > 0 {
		in = nil
	}
	x := &renameSwap{
		stagePaths: newStagePaths(p, in, filepath.Dir(p.Path()), func(name string) string { return swap.Beside(p.Name, name) }),
		aside:      swap.Beside(p.Name, "aside"),
	}
	x.switchNames = func(a, b string) error { return x.in.Exchange(a, b) }
	return x
}

func (x *renameSwap) at() *stagePaths { return &x.stagePaths }

// prepare makes the folders above that are missing.
func (x *renameSwap) prepare(parents []meta.Parent) error {
	if err := meta.MakeParents(&x.stagePaths.place, parents); err != nil {
		return err
	}
	x.in = x.stagePaths.place.Dir
	return nil
}

func (x *renameSwap) leave() error { return nil }

// inodeOf gives the inode number of a folder; 0 for none.
func (x *renameSwap) inodeOf(name string) (uint64, error) {
	if x.in == nil {
		return 0, nil
	}
	st, err := x.in.Stat(name)
	if err == nil && st.Mode != 0 && !fsx.IsDir(st) {
		err = fmt.Errorf("%s is not a folder", x.in.Path(name))
	}
	return st.Ino, err
}

// swap puts the staged folder into place and keeps what it replaces.
func (x *renameSwap) swap() error {
	if err := x.settle(); err != nil {
		return err
	}
	m, err := x.readMarker()
	if err != nil {
		return err
	}
	staged, err := x.inodeOf(x.staged)
	if err != nil {
		return err
	}
	if m == nil {
		if staged == 0 {
			return fmt.Errorf("nothing is staged at %s", filepath.Join(x.folder, x.staged))
		}
		m = &renameNote{New: staged}
		if err := x.writeMarker(m); err != nil {
			return err
		}
	}
	if staged == m.New {
		if err := x.exchange(); err != nil {
			return err
		}
	}
	return x.keep(m)
}

// keep gives what was replaced, if anything was, the name to keep it by.
func (x *renameSwap) keep(m *renameNote) error {
	target, err := x.inodeOf(x.stagePaths.place.Name)
	if err != nil {
		return err
	}
	if target != m.New {
		return fmt.Errorf("the folder that was staged is neither at %s nor at %s", filepath.Join(x.folder, x.staged), x.target)
	}
	staged, err := x.inodeOf(x.staged)
	if err != nil || staged == 0 {
		return err
	}
	return x.move("keep", x.staged, x.replaced)
}

// swapped tells whether the staged folder is in place.
func (x *renameSwap) swapped() (bool, error) {
	m, err := x.readMarker()
	if err != nil || m == nil {
		return false, err
	}
	target, err := x.inodeOf(x.stagePaths.place.Name)
	return target == m.New, err
}

// swapBack puts the replaced folder back into place, if it was replaced, and
// sets the staged one aside.
func (x *renameSwap) swapBack() error {
	if err := x.settle(); err != nil {
		return err
	}
	m, err := x.readMarker()
	if err != nil {
		return err
	}
	if m != nil {
		if err := x.undo(m); err != nil {
			return err
		}
		if err := x.drop(x.staged); err != nil {
			return err
		}
		if err := x.removeNote(); err != nil {
			return err
		}
	}
	return x.clear()
}

// undo leaves the old folder in place, if there was one, and the new one, if
// it is anywhere, as the stage.
func (x *renameSwap) undo(m *renameNote) error {
	replaced, err := x.inodeOf(x.replaced)
	if err != nil {
		return err
	}
	if replaced != 0 {
		if err := x.move("unkeep", x.replaced, x.staged); err != nil {
			return err
		}
	}
	staged, err := x.inodeOf(x.staged)
	if err != nil {
		return err
	}
	if staged != 0 && staged != m.New {
		return x.exchange() // the old one goes back
	}
	target, err := x.inodeOf(x.stagePaths.place.Name)
	if err != nil {
		return err
	}
	if staged == 0 && target == m.New {
		return x.move("unplace", x.stagePaths.place.Name, x.staged) // it replaced nothing
	}
	return nil
}

// discard sets aside whatever is left beside the target.
func (x *renameSwap) discard() error {
	if err := x.settle(); err != nil {
		return err
	}
	if err := x.removeNote(); err != nil {
		return err
	}
	return x.clear()
}

// exchange exchanges the stage and the target, or moves the stage to a target
// that does not exist.
func (x *renameSwap) exchange() error {
	target, err := x.inodeOf(x.stagePaths.place.Name)
	if err != nil {
		return err
	}
	if target == 0 {
		return x.move("place", x.staged, x.stagePaths.place.Name)
	}
	if err := x.fault("exchange"); err != nil {
		return err
	}
	err = x.switchNames(x.staged, x.stagePaths.place.Name)
	if fsx.Unsupported(err) {
		if err := x.move("put aside", x.stagePaths.place.Name, x.aside); err != nil {
			return err
		}
		return x.settle()
	}
	if err != nil {
		return fmt.Errorf("exchange the stage and %s: %w", x.target, err)
	}
	return x.sync()
}

// settle ends an exchange by way of the name aside, which was cut off.
func (x *renameSwap) settle() error {
	aside, err := x.inodeOf(x.aside)
	if err != nil || aside == 0 {
		return err
	}
	target, err := x.inodeOf(x.stagePaths.place.Name)
	if err != nil {
		return err
	}
	if target == 0 {
		if err := x.move("place", x.staged, x.stagePaths.place.Name); err != nil {
			return err
		}
	}
	return x.move("take from aside", x.aside, x.staged)
}

func (x *renameSwap) readMarker() (*renameNote, error) {
	m := new(renameNote)
	if there, err := x.readNote(m); err != nil || !there {
		return nil, err
	}
	return m, nil
}

func (x *renameSwap) writeMarker(m *renameNote) error { return x.writeNote("mark", m) }
