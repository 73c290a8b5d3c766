// Package meta reads and sets the metadata of files and directories: owners, modes,
// times and extended attributes.
package meta

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// Setter gives what a restore makes its metadata.
type Setter struct {
	Source string // its name
	Dest   string // the folder in which paths of nodes begin, for people
	Root   bool   // this process runs as root: it may give files away
	Owners *OwnerIDs
	Losses *source.Losses // nil: the first failure is the end
	Unset  *source.Losses // extended attributes that a stage goes without; nil: none may be missing
}

// Give gives a new file that is the whole source of a name its owner, its extended
// attributes and its mode, as a restore of a directory does. What of the attributes
// the file system does not take is an error, or goes to unset.
func Give(ctx context.Context, f *os.File, of string, n *tree.Node, unset *source.Losses) error {
	p := &Setter{
		Source: of, Dest: filepath.Dir(f.Name()), Root: os.Geteuid() == 0, Owners: NewOwnerIDs(), Losses: source.LossesOf(ctx), Unset: unset,
	}
	uid, gid := p.Owner(n)
	return p.SetMeta(int(f.Fd()), n, uid, gid)
}

// GiveStage is Give for a stage, which goes without attributes that the file
// system does not take, and says so.
func GiveStage(ctx context.Context, f *os.File, of string, n *tree.Node) error {
	unset := new(source.Losses)
	if err := Give(ctx, f, of, n, unset); err != nil {
		return err
	}
	return source.JudgeUnset(ctx, unset)
}

// Bear is nil where the restore goes on without what failed.
func (p *Setter) Bear(n *tree.Node, what string, err error) error {
	if err == nil || p.Losses.Bears(source.Loss{Source: p.Source, Path: n.Path, What: what}, err) {
		return nil
	}
	if what == source.OfAttributes && refusedAttribute(err) && p.Unset.Bears(source.Loss{Source: p.Source, Path: n.Path, What: what}, err) {
		return nil
	}
	return err
}

// refusedAttribute tells whether a file system, or the lack of a privilege, is why
// an extended attribute was not set.
func refusedAttribute(err error) bool {
	return slices.ContainsFunc([]error{unix.ENOTSUP, unix.EPERM, unix.EACCES, unix.EINVAL, unix.E2BIG, unix.ERANGE, unix.ENOSPC}, func(why error) bool { return errors.Is(err, why) })
}

// Owner returns the ids that the owner of a node has here.
func (p *Setter) Owner(n *tree.Node) (uid, gid uint32) {
	return p.Owners.user(n.User, n.UID), p.Owners.group(n.Group, n.GID)
}

// SetMeta sets owner, attributes and mode of an open file or folder: in this
// order, as a new owner clears set-uid bits and file capabilities, and an
// attribute may need the permission that the mode takes away.
func (p *Setter) SetMeta(fd int, n *tree.Node, uid, gid uint32) error {
	err := Chown(uid, gid, func(u, g int) error { return unix.Fchown(fd, u, g) }, p.Root)
	if err = p.Step("change owner of", source.OfOwner, n, err); err != nil {
		return err
	}
	if err := p.SetXattrs(openXattrs(fd), n); err != nil {
		return err
	}
	perm := n.Mode
	if !p.Root && n.Type == tree.RegularFile && int(uid) != os.Geteuid() {
		perm &^= unix.S_ISUID | unix.S_ISGID // not with somebody else's privileges
	}
	return p.Step("change mode of", source.OfMode, n, unix.Fchmod(fd, perm))
}

// SetXattrs sets extended attributes: each for itself, so that one that the file
// system does not take keeps no other from being set. Labels that belong to the
// host's own policy, or that need a privilege which this process does not have,
// are set where possible.
func (p *Setter) SetXattrs(at Xattrs, n *tree.Node) error {
	for _, x := range n.Xattrs {
		err := at.set(x.Name, x.Value)
		if err == nil || hostPolicy(x.Name, p.Root) {
			continue
		}
		if err := p.Bear(n, source.OfAttributes, p.Failed("set extended attribute "+x.Name+" of", n, err)); err != nil {
			return err
		}
	}
	return nil
}

// Chown sets the owner. Without the privilege to, only the group is set, where
// it is permitted: then everything belongs to whoever restores it.
func Chown(uid, gid uint32, set func(uid, gid int) error, root bool) error {
	if root {
		return set(int(uid), int(gid))
	}
	if err := set(-1, int(gid)); err != nil && err != unix.EPERM {
		return err
	}
	return nil
}

// SetTime sets when something changed last, by its name in an open folder.
func (p *Setter) SetTime(in int, name string, n *tree.Node) error {
	mtime, err := unix.TimeToTimespec(n.ModTime)
	if err == nil {
		both := []unix.Timespec{mtime, mtime}
		err = unix.UtimesNanoAt(in, name, both, unix.AT_SYMLINK_NOFOLLOW)
	}
	return p.Step("set time of", source.OfTime, n, err)
}

// Failed names what failed, and of which node.
func (p *Setter) Failed(op string, n *tree.Node, err error) error {
	return &fs.PathError{Op: op, Path: filepath.Join(p.Dest, n.Path), Err: err}
}

// Step is what becomes of a failure to set something.
func (p *Setter) Step(op, what string, n *tree.Node, err error) error {
	if err == nil {
		return nil
	}
	return p.Bear(n, what, p.Failed(op, n, err))
}
