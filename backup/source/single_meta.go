package source

import (
	"context"
	"os"
	"path/filepath"
)

// giveMeta gives a new file that is a whole source its owner, its extended
// attributes and its mode, as a restore of a directory does. What of the attributes
// the file system does not take is an error, or goes to unset.
func giveMeta(ctx context.Context, f *os.File, source string, n *Node, unset *Losses) error {
	p := &planting{
		e: Entry{Name: source}, dest: filepath.Dir(f.Name()), owners: newOwnerIDs(), root: os.Geteuid() == 0,
		losses: lossesOf(ctx), unset: unset,
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

// node is the file of a restored database.
func (f *sqliteFacts) node(name string) *Node {
	return &Node{
		Path: name, Type: RegularFile, Mode: f.Mode & 0o777,
		UID: f.UID, GID: f.GID, User: f.User, Group: f.Group, Xattrs: f.Xattrs,
	}
}

// node is the restored file.
func (f *fileFacts) node(name string) *Node {
	return &Node{
		Path: name, Type: RegularFile, Mode: f.Mode,
		UID: f.UID, GID: f.GID, User: f.User, Group: f.Group, Xattrs: f.Xattrs,
	}
}
