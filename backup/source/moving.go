package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// stageFolder is where a stage lies within a target that is a mount point. No
// dump has it.
const stageFolder = ".understudy-restore"

// lostAndFound belongs to the file system, not to what is kept on it.
const lostAndFound = "lost+found"

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
type moving struct{ site }

type movingNote struct {
	Phase string     `json:"phase"`
	Old   folderMeta `json:"old"` // of the target itself
	New   folderMeta `json:"new"`
}

// folderMeta is the metadata of one folder.
type folderMeta struct {
	Mode     uint32    `json:"mode"`
	UID      int       `json:"uid"`
	GID      int       `json:"gid"`
	Modified time.Time `json:"modified"`
	Xattrs   []Xattr   `json:"xattrs,omitempty"`
}

func newMoving(target string) *moving {
	folder := filepath.Join(target, stageFolder)
	return &moving{newSite(target, folder, func(name string) string { return filepath.Join(folder, name) })}
}

func (m *moving) at() *site { return &m.site }

// prepare makes the folder of the stage.
func (m *moving) prepare() error {
	if there, err := exists(m.folder); err != nil || there {
		return err
	}
	return m.keepTime(func() error { return os.Mkdir(m.folder, 0o700) })
}

// keepTime does something in the target, whose time stays as it is.
func (m *moving) keepTime(do func() error) error {
	info, err := os.Stat(m.target)
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	if err := os.Chtimes(m.target, time.Time{}, info.ModTime()); err != nil {
		return err
	}
	return syncFolder(m.target)
}

// leave removes the folder of the stage, if nothing is left in it.
func (m *moving) leave() error {
	entries, err := os.ReadDir(m.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || len(entries) > 0 {
		return err
	}
	if err := m.fault("leave"); err != nil {
		return err
	}
	return m.keepTime(func() error { return os.Remove(m.folder) })
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

// swap puts the staged entries into place and keeps what they replace.
func (m *moving) swap() error {
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
		if err := m.moveAll(m.target, m.replaced); err != nil {
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
		return fmt.Errorf("%w (%s)", ErrUnfinished, n.Phase)
	}
	if err := m.moveAll(m.staged, m.target); err != nil {
		return err
	}
	if err := n.New.set(m.target); err != nil {
		return err
	}
	return m.enter(n, "done")
}

func (m *moving) begin() (*movingNote, error) {
	there, err := exists(m.staged)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, fmt.Errorf("%w at %s", errNothingStaged, m.staged)
	}
	n := new(movingNote)
	if n.Old, err = metaOf(m.target); err != nil {
		return nil, err
	}
	if n.New, err = metaOf(m.staged); err != nil {
		return nil, err
	}
	if err := m.drop(m.replaced); err != nil {
		return nil, err
	}
	if err := os.Mkdir(m.replaced, 0o700); err != nil {
		return nil, err
	}
	return n, m.enter(n, "out")
}

// swapped tells whether all that was staged is in place.
func (m *moving) swapped() (bool, error) {
	n, err := m.read()
	return n != nil && n.Phase == "done", err
}

// swapBack puts what was replaced back into place and sets the stage aside.
func (m *moving) swapBack() error {
	if there, err := exists(m.folder); err != nil || !there {
		return err
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
		if err := m.moveAll(m.target, m.staged); err != nil {
			return err
		}
		if err := m.enter(n, "back in"); err != nil {
			return err
		}
	}
	if err := m.moveAll(m.replaced, m.target); err != nil {
		return err
	}
	return n.Old.set(m.target)
}

// discard sets aside whatever is left of a stage or a swap that is done.
func (m *moving) discard() error {
	if there, err := exists(m.folder); err != nil || !there {
		return err
	}
	n, err := m.read()
	if err != nil {
		return err
	}
	if n != nil && n.Phase != "done" {
		return fmt.Errorf("%w (%s)", ErrUnfinished, n.Phase)
	}
	if err := m.removeNote(); err != nil {
		return err
	}
	return m.clear()
}

// moveAll moves what is in one folder to another one, durably.
func (m *moving) moveAll(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == stageFolder || e.Name() == lostAndFound {
			continue
		}
		if err := m.fault("move"); err != nil {
			return err
		}
		if err := moveEntry(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	if err := m.fault("sync"); err != nil {
		return err
	}
	return errors.Join(syncFolder(from), syncFolder(to))
}

// moveEntry renames to a name that nothing has.
func moveEntry(from, to string) error {
	err := renameNew(from, to)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	// A folder that is read-only for its owner may not be given another parent.
	info, failed := os.Lstat(from)
	if failed != nil || !info.IsDir() {
		return err
	}
	if failed := os.Chmod(from, info.Mode()|0o700); failed != nil {
		return err
	}
	at := from
	if err = renameNew(from, to); err == nil {
		at = to
	}
	return errors.Join(err, os.Chmod(at, info.Mode()))
}

func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, unix.EINVAL) {
		if there, err := exists(to); err != nil {
			return err
		} else if there {
			return fmt.Errorf("%s was made again in the midst of a swap", to)
		}
		return os.Rename(from, to)
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s was made again in the midst of a swap", to)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func metaOf(path string) (m folderMeta, err error) {
	f, err := openRoot(path)
	if err != nil {
		return m, err
	}
	defer f.release()
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return m, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	m = folderMeta{Mode: st.Mode & 0o7777, UID: int(st.Uid), GID: int(st.Gid), Modified: modTime(&st)}
	if m.Xattrs, err = readXattrs(f.fd); err != nil {
		return m, &fs.PathError{Op: "read extended attributes of", Path: path, Err: err}
	}
	return m, nil
}

// set gives a folder the metadata.
func (m *folderMeta) set(path string) error {
	f, err := openRoot(path)
	if err != nil {
		return err
	}
	defer f.release()
	n := &Node{Path: ".", Type: Folder, Mode: m.Mode, ModTime: m.Modified, Xattrs: m.Xattrs}
	p := &planting{dest: path, root: os.Geteuid() == 0}
	if err := dropXattrs(f.fd, m.Xattrs, p.root); err != nil {
		return p.failed("remove extended attributes of", n, err)
	}
	if err := p.setMeta(f.fd, n, uint32(m.UID), uint32(m.GID)); err != nil {
		return err
	}
	if err := p.setTime(f, ".", n); err != nil {
		return err
	}
	return syncFolder(path)
}
