package directory

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

// stageDir is where a stage lies within a target that is a mount point. No
// dump has it.
const stageDir = ".understudy-restore"

// lostAndFound belongs to the file system, not to what is kept on it.
const lostAndFound = "lost+found"

// entrySwap puts a stage into the place of what is in a mount point, which cannot
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
type entrySwap struct {
	stagePaths
	dir *fsx.Dir // the target
}

type entryNote struct {
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

// newEntrySwap works in a target that is a mount point. The stage lies in a folder of
// this process's alone.
func newEntrySwap(p fsx.Place) (*entrySwap, error) {
	dir, err := p.Dir.OpenDir(p.Name)
	if err != nil {
		return nil, err
	}
	m := &entrySwap{dir: dir, stagePaths: newStagePaths(p, nil, filepath.Join(p.Path(), stageDir), func(name string) string { return name })}
	if err := m.enterDir(); err != nil {
		m.release()
		return nil, err
	}
	return m, nil
}

// enterDir holds the folder of the stage, if there is one.
func (m *entrySwap) enterDir() error {
	in, err := m.dir.OpenDir(stageDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	m.in = in
	own, err := in.Own()
	if err == nil && !own {
		err = fmt.Errorf("%s is not this agent's: others may write to it; remove it", m.folder)
	}
	return err
}

func (m *entrySwap) release() {
	m.dir.Close()
	m.stagePaths.release()
}

func (m *entrySwap) at() *stagePaths { return &m.stagePaths }

// prepare makes the folder of the stage.
func (m *entrySwap) prepare([]meta.Parent) error {
	if m.in != nil {
		return nil
	}
	return m.keepTime(func() (err error) {
		m.in, err = m.dir.Make(stageDir)
		return err
	})
}

// keepTime does something in the target, whose time stays as it is.
func (m *entrySwap) keepTime(do func() error) error {
	st, err := m.dir.Self()
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	omit := unix.Timespec{Nsec: unix.UTIME_OMIT}
	if err := unix.UtimesNanoAt(m.dir.FD(), ".", []unix.Timespec{omit, st.Mtim}, 0); err != nil {
		return &fs.PathError{Op: "set time of", Path: m.target, Err: err}
	}
	return m.dir.Sync()
}

// leave removes the folder of the stage, if nothing is left in it.
func (m *entrySwap) leave() error {
	if m.in == nil {
		return nil
	}
	names, err := m.in.Names()
	if err != nil || len(names) > 0 {
		return err
	}
	if err := m.fault("leave"); err != nil {
		return err
	}
	return m.keepTime(func() error { return m.dir.RemoveDir(stageDir) })
}

// read gives the note; nil for none.
func (m *entrySwap) read() (*entryNote, error) {
	n := new(entryNote)
	if there, err := m.readNote(n); err != nil || !there {
		return nil, err
	}
	return n, nil
}

func (m *entrySwap) enter(n *entryNote, phase string) error {
	n.Phase = phase
	return m.writeNote(phase, n)
}

// swap puts the staged entries into place and keeps what they replace.
func (m *entrySwap) swap() error {
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
		if err := m.moveOut(m.replaced); err != nil {
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
	if err := m.moveIn(m.staged); err != nil {
		return err
	}
	if err := n.New.set(m.dir); err != nil {
		return err
	}
	return m.enter(n, "done")
}

func (m *entrySwap) begin() (*entryNote, error) {
	there, err := m.exists(m.staged)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, fmt.Errorf("%w at %s", swap.ErrNothingStaged, filepath.Join(m.folder, m.staged))
	}
	staged, err := m.in.OpenDir(m.staged)
	if err != nil {
		return nil, err
	}
	defer staged.Close()
	n := new(entryNote)
	if n.Old, err = metaOf(m.dir); err != nil {
		return nil, err
	}
	if n.New, err = metaOf(staged); err != nil {
		return nil, err
	}
	if err := m.drop(m.replaced); err != nil {
		return nil, err
	}
	replaced, err := m.in.Make(m.replaced)
	if err != nil {
		return nil, err
	}
	replaced.Close()
	return n, m.enter(n, "out")
}

// swapped tells whether all that was staged is in place.
func (m *entrySwap) swapped() (bool, error) {
	n, err := m.read()
	return n != nil && n.Phase == "done", err
}

// swapBack puts what was replaced back into place and sets the stage aside.
func (m *entrySwap) swapBack() error {
	if m.in == nil {
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

func (m *entrySwap) back(n *entryNote) error {
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
		if err := m.moveOut(m.staged); err != nil {
			return err
		}
		if err := m.enter(n, "back in"); err != nil {
			return err
		}
	}
	if err := m.moveIn(m.replaced); err != nil {
		return err
	}
	return n.Old.set(m.dir)
}

// discard sets aside whatever is left of a stage or a swap that is done.
func (m *entrySwap) discard() error {
	if m.in == nil {
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
func (m *entrySwap) moveOut(name string) error {
	to, err := m.in.OpenDir(name)
	if err != nil {
		return err
	}
	defer to.Close()
	return m.moveAll(m.dir, to)
}

func (m *entrySwap) moveIn(name string) error {
	from, err := m.in.OpenDir(name)
	if err != nil {
		return err
	}
	defer from.Close()
	return m.moveAll(from, m.dir)
}

// moveAll moves what is in one folder to another one, durably.
func (m *entrySwap) moveAll(from, to *fsx.Dir) error {
	names, err := from.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == stageDir || name == lostAndFound {
			continue
		}
		if err := m.fault("move"); err != nil {
			return err
		}
		if err := moveEntry(from, to, name); err != nil {
			return err
		}
	}
	if err := m.fault("sync"); err != nil {
		return err
	}
	return errors.Join(from.Sync(), to.Sync())
}

// moveEntry moves what has a name to a folder in which nothing has it.
func moveEntry(from, to *fsx.Dir, name string) error {
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
