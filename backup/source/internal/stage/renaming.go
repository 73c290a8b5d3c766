package stage

import (
	"fmt"
	"path/filepath"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
)

// renaming puts a staged folder in the place of another and back again. Each
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
type renaming struct {
	Stage
	aside       string                  // exists only where two names cannot be exchanged at once, and only for a moment
	switchNames func(a, b string) error // gives each what the other one had, at once
}

// renamingNote is the content of the marker.
type renamingNote struct {
	New uint64 `json:"new_inode"`
}

func newRenaming(p fsx.Place) *renaming {
	in := p.Dir
	if len(p.Missing) > 0 {
		in = nil
	}
	x := &renaming{
		Stage: newStage(p, in, filepath.Dir(p.Path()), func(name string) string { return swap.Beside(p.Name, name) }),
		aside: swap.Beside(p.Name, "aside"),
	}
	x.switchNames = func(a, b string) error { return x.In.Exchange(a, b) }
	return x
}

func (x *renaming) At() *Stage { return &x.Stage }

// Inside implements Placement.
func (x *renaming) Inside() bool { return false }

// Prepare makes the folders above that are missing.
func (x *renaming) Prepare(parents []meta.Parent) error {
	if err := meta.MakeParents(&x.Stage.Place, parents); err != nil {
		return err
	}
	x.In = x.Stage.Place.Dir
	return nil
}

func (x *renaming) Leave() error { return nil }

// inodeOf gives the inode number of a folder; 0 for none.
func (x *renaming) inodeOf(name string) (uint64, error) {
	if x.In == nil {
		return 0, nil
	}
	st, err := x.In.Stat(name)
	if err == nil && st.Mode != 0 && !fsx.IsDir(st) {
		err = fmt.Errorf("%s is not a folder", x.In.Path(name))
	}
	return st.Ino, err
}

// Swap puts the staged folder into place and keeps what it replaces.
func (x *renaming) Swap() error {
	if err := x.settle(); err != nil {
		return err
	}
	m, err := x.readMarker()
	if err != nil {
		return err
	}
	staged, err := x.inodeOf(x.Staged)
	if err != nil {
		return err
	}
	if m == nil {
		if staged == 0 {
			return fmt.Errorf("nothing is staged at %s", filepath.Join(x.Folder, x.Staged))
		}
		m = &renamingNote{New: staged}
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
func (x *renaming) keep(m *renamingNote) error {
	target, err := x.inodeOf(x.Stage.Place.Name)
	if err != nil {
		return err
	}
	if target != m.New {
		return fmt.Errorf("the folder that was staged is neither at %s nor at %s", filepath.Join(x.Folder, x.Staged), x.Target)
	}
	staged, err := x.inodeOf(x.Staged)
	if err != nil || staged == 0 {
		return err
	}
	return x.move("keep", x.Staged, x.Replaced)
}

// Swapped tells whether the staged folder is in place.
func (x *renaming) Swapped() (bool, error) {
	m, err := x.readMarker()
	if err != nil || m == nil {
		return false, err
	}
	target, err := x.inodeOf(x.Stage.Place.Name)
	return target == m.New, err
}

// SwapBack puts the replaced folder back into place, if it was replaced, and
// sets the staged one aside.
func (x *renaming) SwapBack() error {
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
		if err := x.drop(x.Staged); err != nil {
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
func (x *renaming) undo(m *renamingNote) error {
	replaced, err := x.inodeOf(x.Replaced)
	if err != nil {
		return err
	}
	if replaced != 0 {
		if err := x.move("unkeep", x.Replaced, x.Staged); err != nil {
			return err
		}
	}
	staged, err := x.inodeOf(x.Staged)
	if err != nil {
		return err
	}
	if staged != 0 && staged != m.New {
		return x.exchange() // the old one goes back
	}
	target, err := x.inodeOf(x.Stage.Place.Name)
	if err != nil {
		return err
	}
	if staged == 0 && target == m.New {
		return x.move("unplace", x.Stage.Place.Name, x.Staged) // it replaced nothing
	}
	return nil
}

// Discard sets aside whatever is left beside the target.
func (x *renaming) Discard() error {
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
func (x *renaming) exchange() error {
	target, err := x.inodeOf(x.Stage.Place.Name)
	if err != nil {
		return err
	}
	if target == 0 {
		return x.move("place", x.Staged, x.Stage.Place.Name)
	}
	if err := x.fault("exchange"); err != nil {
		return err
	}
	err = x.switchNames(x.Staged, x.Stage.Place.Name)
	if fsx.Unsupported(err) {
		if err := x.move("put aside", x.Stage.Place.Name, x.aside); err != nil {
			return err
		}
		return x.settle()
	}
	if err != nil {
		return fmt.Errorf("exchange the stage and %s: %w", x.Target, err)
	}
	return x.sync()
}

// settle ends an exchange by way of the name aside, which was cut off.
func (x *renaming) settle() error {
	aside, err := x.inodeOf(x.aside)
	if err != nil || aside == 0 {
		return err
	}
	target, err := x.inodeOf(x.Stage.Place.Name)
	if err != nil {
		return err
	}
	if target == 0 {
		if err := x.move("place", x.Staged, x.Stage.Place.Name); err != nil {
			return err
		}
	}
	return x.move("take from aside", x.aside, x.Staged)
}

func (x *renaming) readMarker() (*renamingNote, error) {
	m := new(renamingNote)
	if there, err := x.readNote(m); err != nil || !there {
		return nil, err
	}
	return m, nil
}

func (x *renaming) writeMarker(m *renamingNote) error { return x.writeNote("mark", m) }
