package stage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// Folder is where a stage lies within a target that is a mount point. No dump has
// it.
const Folder = ".understudy-restore"

// LostAndFound belongs to the file system, not to what is kept on it.
const LostAndFound = "lost+found"

// moving puts a stage into the place of what is in a mount point, which cannot
// itself be renamed: entry by entry. Each of its operations may be cut off at
// any point and run again, in a new process: the note says which of the moves
// is under way.
//
//	phase     what is in the target   under way
//	–         old
//	out       old                     to replaced
//	in        new                     from staged
//	done      new
//	back out  new                     to staged
//	back in   old                     from replaced
//
// A phase begins when the moves of the one before are durable, so that within
// one all that is in the target is of the same state.
type moving struct {
	Stage
	dir *fsx.Dir // the target
}

type movingNote struct {
	Phase string  `json:"phase"`
	Old   dirMeta `json:"old"` // of the target itself
	New   dirMeta `json:"new"`
}

// dirMeta is the metadata of one folder.
type dirMeta struct {
	Mode     uint32       `json:"mode"`
	UID      int          `json:"uid"`
	GID      int          `json:"gid"`
	Modified time.Time    `json:"modified"`
	Xattrs   []tree.Xattr `json:"xattrs,omitempty"`
}

// newMoving works in a target that is a mount point. The stage lies in a folder of
// this process's alone.
func newMoving(p fsx.Place) (*moving, error) {
	dir, err := p.Dir.OpenDir(p.Name)
	if err != nil {
		return nil, err
	}
	m := &moving{dir: dir, Stage: newStage(p, nil, filepath.Join(p.Path(), Folder), func(name string) string { return name })}
	if err := m.enterDir(); err != nil {
		m.Release()
		return nil, err
	}
	return m, nil
}

// enterDir holds the folder of the stage, if there is one.
func (m *moving) enterDir() error {
	in, err := m.dir.OpenDir(Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	m.In = in
	own, err := in.Own()
	if err == nil && !own {
		err = fmt.Errorf("%s is not this agent's: others may write to it; remove it", m.Folder)
	}
	return err
}

func (m *moving) Release() {
	m.dir.Close()
	m.Stage.Release()
}

func (m *moving) At() *Stage { return &m.Stage }

// Inside implements Placement.
func (m *moving) Inside() bool { return true }

// Prepare makes the folder of the stage.
func (m *moving) Prepare([]meta.Parent) error {
	if m.In != nil {
		return nil
	}
	return m.keepTime(func() (err error) {
		m.In, err = m.dir.Make(Folder)
		return err
	})
}

// keepTime does something in the target, whose time stays as it is.
func (m *moving) keepTime(do func() error) error {
	st, err := m.dir.Self()
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	omit := unix.Timespec{Nsec: unix.UTIME_OMIT}
	if err := unix.UtimesNanoAt(m.dir.FD(), ".", []unix.Timespec{omit, st.Mtim}, 0); err != nil {
		return &fs.PathError{Op: "set time of", Path: m.Target, Err: err}
	}
	return m.dir.Sync()
}

// Leave removes the folder of the stage, if nothing is left in it.
func (m *moving) Leave() error {
	if m.In == nil {
		return nil
	}
	names, err := m.In.Names()
	if err != nil || len(names) > 0 {
		return err
	}
	if err := m.fault("leave"); err != nil {
		return err
	}
	return m.keepTime(func() error { return m.dir.RemoveDir(Folder) })
}

// read gives the note; nil for none.
func (m *moving) read() (*movingNote, error) {
	n := new(movingNote)
	if there, err := m.readNote(n); err != nil || !there {
		return nil, err
	}
	return n, nil
}

func (m *moving) enter(n *movingNote, phase string) error {
	n.Phase = phase
	return m.writeNote(phase, n)
}

// Swap puts the staged entries into place and keeps what they replace.
func (m *moving) Swap() error {
	n, err := m.read()
	if err != nil {
		return err
	}
	if n == nil {
		if n, err = m.begin(); err != nil {
			return err
		}
	}
	if n.Phase == "out" {
		if err := m.moveOut(m.Replaced); err != nil {
			return err
		}
		if err := m.enter(n, "in"); err != nil {
			return err
		}
	}
	switch n.Phase {
	case "done":
		return nil
	case "in":
	default:
		return fmt.Errorf("%w (%s)", source.ErrUnfinished, n.Phase)
	}
	if err := m.moveIn(m.Staged); err != nil {
		return err
	}
	if err := n.New.set(m.dir); err != nil {
		return err
	}
	return m.enter(n, "done")
}

func (m *moving) begin() (*movingNote, error) {
	there, err := m.Exists(m.Staged)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, fmt.Errorf("%w at %s", swap.ErrNothingStaged, filepath.Join(m.Folder, m.Staged))
	}
	staged, err := m.In.OpenDir(m.Staged)
	if err != nil {
		return nil, err
	}
	defer staged.Close()
	n := new(movingNote)
	if n.Old, err = metaOf(m.dir); err != nil {
		return nil, err
	}
	if n.New, err = metaOf(staged); err != nil {
		return nil, err
	}
	if err := m.drop(m.Replaced); err != nil {
		return nil, err
	}
	replaced, err := m.In.Make(m.Replaced)
	if err != nil {
		return nil, err
	}
	replaced.Close()
	return n, m.enter(n, "out")
}

// Swapped tells whether all that was staged is in place.
func (m *moving) Swapped() (bool, error) {
	n, err := m.read()
	return n != nil && n.Phase == "done", err
}

// SwapBack puts what was replaced back into place and sets the stage aside.
func (m *moving) SwapBack() error {
	if m.In == nil {
		return nil
	}
	n, err := m.read()
	if err != nil {
		return err
	}
	if n != nil {
		if err := m.back(n); err != nil {
			return err
		}
		if err := m.removeNote(); err != nil {
			return err
		}
	}
	return m.clear()
}

func (m *moving) back(n *movingNote) error {
	switch n.Phase {
	case "in", "done":
		if err := m.enter(n, "back out"); err != nil {
			return err
		}
	case "out":
		if err := m.enter(n, "back in"); err != nil {
			return err
		}
	}
	if n.Phase == "back out" {
		if err := m.moveOut(m.Staged); err != nil {
			return err
		}
		if err := m.enter(n, "back in"); err != nil {
			return err
		}
	}
	if err := m.moveIn(m.Replaced); err != nil {
		return err
	}
	return n.Old.set(m.dir)
}

// Discard sets aside whatever is left of a stage or a swap that is done.
func (m *moving) Discard() error {
	if m.In == nil {
		return nil
	}
	n, err := m.read()
	if err != nil {
		return err
	}
	if n != nil && n.Phase != "done" {
		return fmt.Errorf("%w (%s)", source.ErrUnfinished, n.Phase)
	}
	if err := m.removeNote(); err != nil {
		return err
	}
	return m.clear()
}

// moveOut moves what is in the target to a folder of the stage's, moveIn the other
// way.
func (m *moving) moveOut(name string) error {
	to, err := m.In.OpenDir(name)
	if err != nil {
		return err
	}
	defer to.Close()
	return m.moveAll(m.dir, to)
}

func (m *moving) moveIn(name string) error {
	from, err := m.In.OpenDir(name)
	if err != nil {
		return err
	}
	defer from.Close()
	return m.moveAll(from, m.dir)
}

// moveAll moves what is in one folder to another one, durably.
func (m *moving) moveAll(from, to *fsx.Dir) error {
	names, err := from.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == Folder || name == LostAndFound {
			continue
		}
		if err := m.fault("move"); err != nil {
			return err
		}
		if err := MoveEntry(from, to, name); err != nil {
			return err
		}
	}
	if err := m.fault("sync"); err != nil {
		return err
	}
	return errors.Join(from.Sync(), to.Sync())
}

// MoveEntry moves what has a name to a folder in which nothing has it.
func MoveEntry(from, to *fsx.Dir, name string) error {
	err := from.RenameNew(name, to, name)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s was made again in the midst of a swap", to.Path(name))
	}
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	// A folder that is read-only for its owner may not be given another parent.
	st, failed := from.Stat(name)
	if failed != nil || !fsx.IsDir(st) {
		return err
	}
	if failed := fsx.Chmod(from.FD(), name, st.Mode&0o7777|0o700); failed != nil {
		return err
	}
	at := from
	if err = from.RenameNew(name, to, name); err == nil {
		at = to
	}
	return errors.Join(err, fsx.Chmod(at.FD(), name, st.Mode&0o7777))
}

func metaOf(d *fsx.Dir) (m dirMeta, err error) {
	st, err := d.Self()
	if err != nil {
		return m, err
	}
	m = dirMeta{Mode: st.Mode & 0o7777, UID: int(st.Uid), GID: int(st.Gid), Modified: meta.ModTime(&st)}
	if m.Xattrs, err = meta.ReadXattrs(d.FD()); err != nil {
		return m, &fs.PathError{Op: "read extended attributes of", Path: d.Path(), Err: err}
	}
	return m, nil
}

// set gives a folder the metadata.
func (m *dirMeta) set(d *fsx.Dir) error {
	n := &tree.Node{Path: ".", Type: tree.Directory, Mode: m.Mode, ModTime: m.Modified, Xattrs: m.Xattrs}
	p := &meta.Setter{Dest: d.Path(), Root: os.Geteuid() == 0}
	if err := meta.DropXattrs(d.FD(), m.Xattrs, p.Root); err != nil {
		return p.Failed("remove extended attributes of", n, err)
	}
	if err := p.SetMeta(d.FD(), n, uint32(m.UID), uint32(m.GID)); err != nil {
		return err
	}
	if err := p.SetTime(d.FD(), ".", n); err != nil {
		return err
	}
	return d.Sync()
}
