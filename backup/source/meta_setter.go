package source

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// metaSetter gives what a restore makes its metadata.
type metaSetter struct {
	source string // its name
	dest   string // the folder in which paths of nodes begin, for people
	root   bool   // this process runs as root: it may give files away
	owners *ownerIDs
	losses *Losses // nil: the first failure is the end
	unset  *Losses // extended attributes that a stage goes without; nil: none may be missing
}

// giveMeta gives a new file that is a whole source its owner, its extended
// attributes and its mode, as a restore of a directory does. What of the attributes
// the file system does not take is an error, or goes to unset.
func giveMeta(ctx context.Context, f *os.File, source string, n *Node, unset *Losses) error {
	p := &metaSetter{
		source: source, dest: filepath.Dir(f.Name()), root: os.Geteuid() == 0, owners: newOwnerIDs(), losses: lossesOf(ctx), unset: unset,
	}
	uid, gid := p.owner(n)
	return p.setMeta(int(f.Fd()), n, uid, gid)
}

// stageMeta is giveMeta for a stage, which goes without attributes that the file
// system does not take, and says so.
func stageMeta(ctx context.Context, f *os.File, source string, n *Node) error {
	unset := new(Losses)
	if err := giveMeta(ctx, f, source, n, unset); err != nil {
		return err
	}
	return judgeUnset(ctx, unset)
}

// bear is nil where the restore goes on without what failed.
func (p *metaSetter) bear(n *Node, what string, err error) error {
	if err == nil || p.losses.bears(Loss{Source: p.source, Path: n.Path, What: what}, err) {
		return nil
	}
	if what == ofAttributes && refusedAttribute(err) && p.unset.bears(Loss{Source: p.source, Path: n.Path, What: what}, err) {
		return nil
	}
	return err
}

// refusedAttribute tells whether a file system, or the lack of a privilege, is why
// an extended attribute was not set.
func refusedAttribute(err error) bool {
	return slices.ContainsFunc([]error{unix.ENOTSUP, unix.EPERM, unix.EACCES, unix.EINVAL, unix.E2BIG, unix.ERANGE, unix.ENOSPC}, func(why error) bool { return errors.Is(err, why) })
}

func (p *metaSetter) owner(n *Node) (uid, gid uint32) {
	return p.owners.user(n.User, n.UID), p.owners.group(n.Group, n.GID)
}

// setMeta sets owner, attributes and mode of an open file or folder: in this
// order, as a new owner clears set-uid bits and file capabilities, and an
// attribute may need the permission that the mode takes away.
func (p *metaSetter) setMeta(fd int, n *Node, uid, gid uint32) error {
	err := chown(uid, gid, func(u, g int) error { return unix.Fchown(fd, u, g) }, p.root)
	if err = p.step("change owner of", ofOwner, n, err); err != nil {
		return err
	}
	if err := p.setXattrs(openXattrs(fd), n); err != nil {
		return err
	}
	perm := n.Mode
	if !p.root && n.Type == RegularFile && int(uid) != os.Geteuid() {
		perm &^= unix.S_ISUID | unix.S_ISGID // not with somebody else's privileges
	}
	return p.step("change mode of", ofMode, n, unix.Fchmod(fd, perm))
}

// setXattrs sets extended attributes: each for itself, so that one that the file
// system does not take keeps no other from being set. Labels that belong to the
// host's own policy, or that need a privilege which this process does not have,
// are set where possible.
func (p *metaSetter) setXattrs(at xattrs, n *Node) error {
	for _, x := range n.Xattrs {
		err := at.set(x.Name, x.Value)
		if err == nil || hostPolicy(x.Name, p.root) {
			continue
		}
		if err := p.bear(n, ofAttributes, p.failed("set extended attribute "+x.Name+" of", n, err)); err != nil {
			return err
		}
	}
	return nil
}

// chown sets the owner. Without the privilege to, only the group is set, where
// it is permitted: then everything belongs to whoever restores it.
func chown(uid, gid uint32, set func(uid, gid int) error, root bool) error {
	if root {
		return set(int(uid), int(gid))
	}
	if err := set(-1, int(gid)); err != nil && err != unix.EPERM {
		return err
	}
	return nil
}

func (p *metaSetter) setTime(in int, name string, n *Node) error {
	mtime, err := unix.TimeToTimespec(n.ModTime)
	if err == nil {
		both := []unix.Timespec{mtime, mtime}
		err = unix.UtimesNanoAt(in, name, both, unix.AT_SYMLINK_NOFOLLOW)
	}
	return p.step("set time of", ofTime, n, err)
}

func (p *metaSetter) failed(op string, n *Node, err error) error {
	return &fs.PathError{Op: op, Path: filepath.Join(p.dest, n.Path), Err: err}
}

// step is what becomes of a failure to set something.
func (p *metaSetter) step(op, what string, n *Node, err error) error {
	if err == nil {
		return nil
	}
	return p.bear(n, what, p.failed(op, n, err))
}
