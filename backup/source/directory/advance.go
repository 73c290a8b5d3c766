package directory

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
	"github.com/understudy-ha/understudy/backup/source/internal/stage"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// advance brings a restored tree forward to another dump, writing only what
// differs between the two lists. A file whose content differs is written whole,
// under its number in the new list, to the folder delta, before anything in the
// tree is touched; then one pass changes the tree, and another one makes hard
// links and, on leaving them, gives the folders in which something changed
// their metadata. No pass remembers more than the folders that it is in.
type advance struct {
	*planting            // of the new tree: list has it
	from      tree.Nodes // the old one, without what is damaged
	whole     tree.Nodes // with it
	bad       *damage
	delta     *opendir.Dir
	forced    map[string]bool // folders that were made writable though nothing in them changed
	databases map[string]bool // of the new tree
	fresh     []freshDatabase // those of them that were written to delta
	oldList   *os.File
	newList   *os.File
}

// freshDatabase is a database whose content differs.
type freshDatabase struct{ path, file string } // file: its name in delta

// prepare fills delta.
func (a *advance) prepare(ctx context.Context, want *Facts) error {
	err := a.writeFiles(ctx, func(ctx context.Context, tasks chan<- task) error {
		return a.eachPair(ctx, func(number int, p tree.Pair) error {
			if p.B == nil {
				return nil
			}
			a.made.add(p.B)
			if !newContent(p) {
				return nil
			}
			if a.databases[p.B.Path] {
				a.fresh = append(a.fresh, freshDatabase{p.B.Path, strconv.Itoa(number)})
			}
			return a.order(ctx, tasks, a.delta, strconv.Itoa(number), p.B)
		})
	})
	if err != nil {
		return err
	}
	a.bytes.Store(a.made.Bytes) // what is not written is there already
	if err := a.compare(want); err != nil {
		return err
	}
	fresh := make(map[string]bool)
	for _, one := range a.fresh {
		fresh[one.path] = true
	}
	if err := source.JudgeAgain(ctx, func(path string) bool { return a.databases[path] && !fresh[path] }); err != nil {
		return err
	}
	for _, one := range a.fresh {
		if err := examine(ctx, one.path, a.delta, one.file); err != nil {
			return err
		}
	}
	return syncTree(a.delta.FD, a.Dest)
}

// apply changes the tree.
func (a *advance) apply(ctx context.Context) error {
	a.forced = map[string]bool{}
	if err := a.change(ctx, a.top); err != nil {
		return err
	}
	if err := clearSides(a.top, a.databases); err != nil {
		return err
	}
	if err := a.finish(ctx, a.top); err != nil {
		return err
	}
	return syncTree(a.top.FD, a.Dest)
}

// eachPair walks both lists. A number is the place in the new one. What was in
// a folder that is none any more is left out: it goes with the folder.
func (a *advance) eachPair(ctx context.Context, do func(number int, p tree.Pair) error) error {
	number, gone := 0, ""
	for p, err := range tree.Merge(a.from(ctx), a.list(ctx)) {
		if err != nil {
			return err
		}
		if p.B != nil {
			number++
		}
		if p.A != nil && p.B == nil && gone != "" && strings.HasPrefix(p.A.Path, gone) {
			continue
		}
		if p.A != nil && p.A.Type == tree.Directory && (p.B == nil || p.B.Type != tree.Directory) {
			gone = p.A.Path + "/"
		}
		if err := do(number, p); err != nil {
			return err
		}
	}
	return nil
}

// newContent tells whether a file has to be written. One that becomes root's, or gives
// whoever runs it more than that user has, is never made of a file in the stage that
// belongs to somebody else, who may have written to it.
func newContent(p tree.Pair) bool {
	switch {
	case p.B.Type != tree.RegularFile:
		return false
	case p.A == nil || p.A.Type != tree.RegularFile || !sameContent(p.A, p.B):
		return true
	}
	return p.A.UID != 0 && privileged(p.B) && !sameMeta(p.A, p.B)
}

// privileged tells whether a file is trusted with more than its content.
func privileged(n *tree.Node) bool {
	return n.UID == 0 || n.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 ||
		slices.ContainsFunc(n.Xattrs, func(x tree.Xattr) bool { return x.Name == "security.capability" })
}

func sameContent(a, b *tree.Node) bool {
	return a.Size == b.Size && source.SameStream(a.Content, b.Content) && slices.Equal(a.Data, b.Data)
}

// otherEntry tells whether the name leads to something else than before, which
// changes its folder.
func otherEntry(p tree.Pair) bool {
	switch {
	case p.A == nil || p.B == nil || p.A.Type != p.B.Type:
		return true
	case p.B.Type == tree.RegularFile:
		return newContent(p)
	case p.B.Type == tree.Directory:
		return false
	case p.B.Type == tree.HardLink:
		return p.A.Target != p.B.Target
	}
	// Links and specials are small enough to be made anew for any difference.
	return p.A.Target != p.B.Target || p.A.Device != p.B.Device || !sameMeta(p.A, p.B)
}

func sameMeta(a, b *tree.Node) bool {
	return a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID && a.User == b.User && a.Group == b.Group &&
		a.ModTime.Equal(b.ModTime) && meta.SameXattrs(a.Xattrs, b.Xattrs)
}

// change is the first pass over the tree.
func (a *advance) change(ctx context.Context, root *opendir.Dir) error {
	at := a.trail(root)
	defer at.close()
	return a.eachPair(ctx, func(number int, p tree.Pair) error {
		n := p.B
		if n == nil {
			n = p.A
		}
		if err := at.up(n.Depth(), nil); err != nil {
			return err
		}
		if err := a.changeOne(at, number, p); err != nil {
			return err
		}
		if p.B != nil && n.Type == tree.Directory {
			at.down(p)
		}
		return nil
	})
}

func (a *advance) changeOne(at *trail, number int, p tree.Pair) error {
	if p.A != nil && p.B != nil && !otherEntry(p) {
		if p.B.Type == tree.RegularFile && !sameMeta(p.A, p.B) {
			return a.remake(at, p)
		}
		return nil
	}
	n := p.B
	if n == nil {
		n = p.A
	}
	in, err := at.writable()
	if err != nil {
		return err
	}
	if inTheWay(p) {
		if err := a.remove(in, p.A); err != nil {
			return err
		}
	}
	switch {
	case p.B == nil, n.Type == tree.HardLink:
		return nil
	case n.Type == tree.RegularFile:
		if err := unix.Renameat(a.delta.FD, strconv.Itoa(number), in.FD, filepath.Base(n.Path)); err != nil {
			return a.Failed("replace", n, err)
		}
		return nil
	case n.Type == tree.Directory:
		made, err := in.Make(filepath.Base(n.Path))
		if err != nil {
			return a.Failed("make folder", n, err)
		}
		made.Release()
		return nil
	}
	return a.makeOther(in, n)
}

// inTheWay tells whether what has the name has to be removed before.
func inTheWay(p tree.Pair) bool {
	switch {
	case p.A == nil:
		return false
	case p.B == nil:
		return true
	case p.B.Type == tree.RegularFile: // which takes the place of another at once
		return p.A.Type == tree.Directory
	case p.B.Type == tree.HardLink: // relink replaces another itself
		return p.A.Type != tree.HardLink
	}
	return true
}

// remove deletes what has a name, with all that is in it.
func (a *advance) remove(in *opendir.Dir, n *tree.Node) error {
	if n.Type == tree.Directory {
		left, err := fsx.DeleteIn(context.Background(), in.FD, filepath.Base(n.Path), filepath.Join(a.Dest, n.Path)) //nolint:forbidigo // half of it gone is worse
		return errors.Join(err, left.Err())
	}
	if err := unix.Unlinkat(in.FD, filepath.Base(n.Path), 0); err != nil && err != unix.ENOENT {
		return a.Failed("remove", n, err)
	}
	return nil
}

// remake gives a file its new metadata.
func (a *advance) remake(at *trail, p tree.Pair) error {
	n := p.B
	in, err := at.open()
	if err != nil {
		return err
	}
	name := filepath.Base(n.Path)
	open := func() (int, error) {
		return opendir.RetryOpen(in.FD, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	}
	fd, err := open()
	if err == unix.EACCES {
		if err = fsx.Chmod(in.FD, name, 0o600); err == nil {
			fd, err = open()
		}
	}
	if err != nil {
		return a.Failed("open", n, err)
	}
	defer unix.Close(fd)
	if err := a.stillAs(fd, p.A); err != nil {
		return a.Failed("change", n, err)
	}
	if err := a.resetMeta(fd, n); err != nil {
		return err
	}
	return a.SetTime(in.FD, name, n)
}

// stillAs fails unless an open file or folder of the stage is as it was restored:
// the application's user may have put another one there, which is not to be given
// away.
func (a *advance) stillAs(fd int, n *tree.Node) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	same := st.Mode&unix.S_IFMT == unix.S_IFDIR == (n.Type == tree.Directory)
	if n.Type == tree.RegularFile {
		same = same && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size == n.Size && n.ModTime.Sub(meta.ModTime(&st)).Abs() < coarseTime
	}
	if a.Root {
		uid, gid := a.Owner(n)
		same = same && st.Uid == uid && st.Gid == gid
	}
	if !same {
		return fsx.ErrReplaced
	}
	return nil
}

// coarseTime is how exactly the coarsest of file systems keep times.
const coarseTime = 2 * time.Second

// resetMeta sets the metadata of something that had other metadata.
func (a *advance) resetMeta(fd int, n *tree.Node) error {
	if !a.Root { // extended attributes are changed by who may write
		if err := unix.Fchmod(fd, 0o700); err != nil {
			return a.Failed("change mode of", n, err)
		}
	}
	if err := meta.DropXattrs(fd, n.Xattrs, a.Root); err != nil {
		return a.Failed("remove extended attributes of", n, err)
	}
	uid, gid := a.Owner(n)
	return a.SetMeta(fd, n, uid, gid)
}

// finish is the second pass.
func (a *advance) finish(ctx context.Context, root *opendir.Dir) error {
	at := a.trail(root)
	defer at.close()
	err := a.eachPair(ctx, func(_ int, p tree.Pair) error {
		n := p.B
		if n == nil {
			n = p.A
		}
		if err := at.up(n.Depth(), a.leave); err != nil {
			return err
		}
		if otherEntry(p) {
			at.touch()
		}
		if p.B == nil {
			return nil
		}
		switch n.Type {
		case tree.HardLink:
			return a.relink(root, at, n)
		case tree.Directory:
			at.down(p).touched = p.A == nil || p.A.Type != tree.Directory || !sameMeta(p.A, p.B) || a.forced[n.Path]
		}
		return nil
	})
	if err != nil {
		return err
	}
	return at.up(0, a.leave)
}

// relink sees to it that a hard link leads to its target, which may be another
// file by now.
func (a *advance) relink(root *opendir.Dir, at *trail, n *tree.Node) error {
	in, err := at.open()
	if err != nil {
		return err
	}
	name := filepath.Base(n.Path)
	var is unix.Stat_t
	if err := in.Stat(name, &is); err != nil && err != unix.ENOENT {
		return a.Failed("stat", n, err)
	} else if err == nil {
		at, _, target, err := linkedFile(root, n)
		if err != nil {
			return a.Failed("link", n, err)
		}
		at.Release()
		if is.Ino == target.Ino {
			return nil
		}
	}
	if in, err = at.writable(); err != nil {
		return err
	}
	if err := unix.Unlinkat(in.FD, name, 0); err != nil && err != unix.ENOENT {
		return a.Failed("remove", n, err)
	}
	return a.link(root, in, n)
}

// leave gives a folder in which something changed its metadata.
func (a *advance) leave(s *step) error {
	if !s.touched {
		return nil
	}
	if _, err := s.folder(); err != nil {
		return err
	}
	if err := a.resetMeta(s.open.FD, s.node); err != nil {
		return err
	}
	return a.SetTime(s.open.FD, ".", s.node)
}

// trail is the chain of folders down to where a pass is. They are opened when
// something is to be done in them: most of a tree is only read off the lists.
type trail struct {
	a     *advance
	root  *opendir.Dir
	steps []*step
}

// step is one folder of a trail.
type step struct {
	t       *trail
	in      *step // nil for the root
	node    *tree.Node
	was     *tree.Node // nil for one that was made just now
	name    string
	open    *opendir.Dir // nil as long as nobody needs it
	ready   bool         // what is in it may be changed
	touched bool         // something in it changed, or it did
}

func (a *advance) trail(root *opendir.Dir) *trail { return &trail{a: a, root: root} }

func (t *trail) down(p tree.Pair) *step {
	s := &step{t: t, node: p.B, name: filepath.Base(p.B.Path)}
	if p.A != nil && p.A.Type == tree.Directory {
		s.was = p.A
	}
	if last := len(t.steps); last > 0 {
		s.in = t.steps[last-1]
	}
	t.steps = append(t.steps, s)
	return s
}

// up leaves folders until the trail is as deep as a node's parents.
func (t *trail) up(depth int, leave func(s *step) error) error {
	for len(t.steps) > depth {
		s := t.steps[len(t.steps)-1]
		var err error
		if leave != nil {
			err = leave(s)
		}
		t.steps = t.steps[:len(t.steps)-1]
		s.close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *trail) close() {
	for _, s := range t.steps {
		s.close()
	}
}

func (s *step) close() {
	if s.open != nil {
		s.open.Release()
	}
}

func (t *trail) last() *step { return t.steps[len(t.steps)-1] }

func (t *trail) touch() {
	if len(t.steps) > 0 { // the root is in no folder
		t.last().touched = true
	}
}

// open gives the folder that the pass is in.
func (t *trail) open() (*opendir.Dir, error) { return t.last().folder() }

// writable gives the folder that the pass is in, to change what is in it.
func (t *trail) writable() (*opendir.Dir, error) {
	s := t.last()
	f, err := s.folder()
	if err != nil || s.ready {
		return f, err
	}
	s.ready, s.touched = true, true
	if !t.a.Root {
		t.a.forced[s.node.Path] = true
		if err := unix.Fchmod(f.FD, 0o700); err != nil {
			return nil, t.a.Failed("change mode of", s.node, err)
		}
	}
	// What is made in it inherits nothing; leave sets it again.
	const inherited = "system.posix_acl_default"
	if err := unix.Fremovexattr(f.FD, inherited); err != nil && err != unix.ENODATA && err != unix.ENOTSUP {
		return nil, t.a.Failed("remove "+inherited+" of", s.node, err)
	}
	return f, nil
}

// folder opens the folder, through those above it.
func (s *step) folder() (*opendir.Dir, error) {
	if s.open != nil {
		return s.open, nil
	}
	if s.in == nil {
		s.open = s.t.root.Hold()
		return s.open, nil
	}
	in, err := s.in.folder()
	if err != nil {
		return nil, err
	}
	if s.open, err = in.OpenDir(s.name); err == unix.EACCES {
		s.t.a.forced[s.node.Path], s.touched = true, true
		if err = fsx.Chmod(in.FD, s.name, 0o700); err == nil {
			s.open, err = in.OpenDir(s.name)
		}
	}
	if err == nil {
		err = s.still()
	}
	if err != nil {
		return nil, s.t.a.Failed("open", s.node, err)
	}
	return s.open, nil
}

// still fails if what was opened is not the folder of the stage.
func (s *step) still() error {
	if s.was != nil {
		return s.t.a.stillAs(s.open.FD, s.was)
	}
	own, err := fsx.Own(s.open.FD)
	if err == nil && !own {
		err = fsx.ErrReplaced
	}
	return err
}

// bringForward brings the stage at s forward to another dump.
func bringForward(ctx context.Context, r chunks.Reader, to source.Entry, s *stage.Stage) error {
	unset := new(source.Losses)
	p, facts, err := newPlanting(source.WithUnset(ctx, unset), r, to, nil, s.Path(s.Staged))
	if err != nil {
		return err
	}
	a := &advance{planting: p}
	defer a.close()
	err = s.Advance(ctx, func(stage, delta *fsx.Dir) error {
		if err := a.hold(s, stage, delta); err != nil {
			return err
		}
		if a.bad, _, err = inspect(ctx, a.whole, s.In, s.Marks, a.top); err != nil {
			return err
		}
		if a.from, err = heal(ctx, a.whole, a.bad, a.top, a.Dest); err != nil {
			return err
		}
		if err := tree.WriteList(ctx, r, to.Root, s.In, s.Listing); err != nil {
			return err
		}
		if a.newList, err = tree.OpenList(s.In, s.Listing); err != nil {
			return err
		}
		a.list = tree.Listed(a.newList)
		if a.databases, err = soundDatabases(ctx, r, to); err != nil {
			return err
		}
		return a.prepare(ctx, &facts)
	}, func() error {
		// To stop half-way would cost the stage.
		ctx := context.WithoutCancel(ctx)
		if err := a.apply(ctx); err != nil {
			return err
		}
		return a.renewMarks(ctx, s.In, s.Marks, s.Marking)
	})
	if err != nil {
		return err
	}
	return source.JudgeUnset(ctx, unset)
}

// hold opens what is worked on, and keeps it open: the names may lead elsewhere
// later.
func (a *advance) hold(s *stage.Stage, stage, delta *fsx.Dir) (err error) {
	if a.top, err = opendir.OpenHeld(stage); err != nil {
		return err
	}
	if a.delta, err = opendir.OpenHeld(delta); err != nil {
		return err
	}
	if a.oldList, err = tree.OpenList(s.In, s.List); err != nil {
		return err
	}
	a.whole = tree.Listed(a.oldList)
	return nil
}

func (a *advance) close() {
	for _, f := range []*opendir.Dir{a.top, a.delta} {
		if f != nil {
			f.Release()
		}
	}
	for _, f := range []*os.File{a.oldList, a.newList} {
		if f != nil {
			_ = f.Close() // it was only read
		}
	}
}
