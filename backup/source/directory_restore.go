package source

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// plant restores a dumped directory, with the nodes of list, to a folder that is
// empty and this process's alone. What it leaves is whole and durable, and as much
// as the entry says.
//
// The list is read twice. The first pass makes everything but hard links, the
// second one these and then, on leaving it, each folder's metadata: making
// something in a folder changes the folder's time. Neither pass remembers more
// than the folders that it is in.
func plant(ctx context.Context, r chunkReader, e Entry, list nodes, dest *fsx.Dir) error {
	return plantAnd(ctx, r, e, list, dest, func(*openFolder) error { return nil })
}

// plantAnd looks at what it has made before anybody else can reach it: the folder
// itself gets its owner and its mode at the very end.
func plantAnd(ctx context.Context, r chunkReader, e Entry, list nodes, dest *fsx.Dir, look func(*openFolder) error) error {
	p, facts, err := newPlanting(ctx, r, e, list, dest.Path())
	if err != nil {
		return err
	}
	if p.top, err = openHere(dest); err != nil {
		return err
	}
	defer p.top.release()
	if err := p.makeAll(ctx); err != nil {
		return err
	}
	if err := p.finishAll(ctx); err != nil {
		return err
	}
	if p.losses == nil || p.losses.Total() == 0 {
		if err := p.compare(&facts); err != nil {
			return err
		}
	}
	if err := look(p.top); err != nil {
		return err
	}
	if err := p.finishTop(); err != nil {
		return err
	}
	return syncTree(p.top.fd, p.dest)
}

// plantSound is plant for a stage: the databases in it are held to SQLite's own
// check.
func plantSound(ctx context.Context, r chunkReader, e Entry, list nodes, dest *fsx.Dir) error {
	databases, err := soundDatabases(ctx, r, e)
	if err != nil {
		return err
	}
	unset := new(Losses)
	return plantAnd(withUnset(ctx, unset), r, e, list, dest, func(top *openFolder) error {
		if err := judgeUnset(ctx, unset); err != nil {
			return err
		}
		for _, path := range slices.Sorted(maps.Keys(databases)) {
			if err := examine(ctx, path, top, path); err != nil {
				return err
			}
		}
		return nil
	})
}

func newPlanting(ctx context.Context, r chunkReader, e Entry, list nodes, dest string) (*planting, DirectoryFacts, error) {
	var facts DirectoryFacts
	if e.Kind != "directory" {
		return nil, facts, fmt.Errorf("restore %s: it is a %s, not a directory", e.Name, e.Kind)
	}
	if err := json.Unmarshal(e.Facts, &facts); err != nil {
		return nil, facts, fmt.Errorf("restore %s: read facts: %w", e.Name, err)
	}
	return &planting{
		metaSetter: metaSetter{
			source: e.Name, dest: dest, root: os.Geteuid() == 0, owners: newOwnerIDs(), losses: lossesOf(ctx), unset: unsetOf(ctx),
		},
		r: r, e: e, list: list,
	}, facts, nil
}

// planting is one restore of a directory.
type planting struct {
	metaSetter
	r      chunkReader
	e      Entry
	list   nodes
	top    *openFolder    // the new folder
	topped *Node          // what it is to be like
	made   DirectoryFacts // by the first pass
	bytes  atomic.Int64   // written
}

// folderStack is the chain of open folders down to where a pass is.
type folderStack struct {
	folders []*openFolder
	nodes   []*Node
}

// top gives the folder that a node of that depth is in, after handing those
// that the pass has left, innermost first, to leave.
func (s *folderStack) top(depth int, leave func(in, f *openFolder, n *Node) error) (*openFolder, error) {
	for len(s.folders) > depth {
		last := len(s.folders) - 1
		f, n := s.folders[last], s.nodes[last]
		var in *openFolder
		if last > 0 {
			in = s.folders[last-1]
		}
		s.folders, s.nodes = s.folders[:last], s.nodes[:last]
		err := leave(in, f, n)
		f.release()
		if err != nil {
			return nil, err
		}
	}
	if depth == 0 {
		return nil, nil
	}
	return s.folders[depth-1], nil
}

func (s *folderStack) push(f *openFolder, n *Node) {
	s.folders, s.nodes = append(s.folders, f), append(s.nodes, n)
}

func (s *folderStack) close() {
	for _, f := range s.folders {
		f.release()
	}
}

// open opens a node's folder, which exists.
func (p *planting) open(in *openFolder, n *Node) (*openFolder, error) {
	if in == nil {
		return p.top.hold(), nil
	}
	f, err := in.folder(filepath.Base(n.Path))
	if err != nil {
		return nil, p.failed("open", n, err)
	}
	return f, nil
}

func stay(_, _ *openFolder, _ *Node) error { return nil }

// task is a file to be written under a name in a folder.
type task struct {
	in       *openFolder
	name     string
	node     *Node
	uid, gid uint32
}

// makeAll is the first pass.
func (p *planting) makeAll(ctx context.Context) error { return p.writeFiles(ctx, p.makeEach) }

// writeFiles writes the files that find asks for, several at a time.
func (p *planting) writeFiles(ctx context.Context, find func(context.Context, chan<- task) error) error {
	group, ctx := errgroup.WithContext(ctx)
	tasks := make(chan task, 128)
	group.Go(func() error {
		defer close(tasks)
		return gently(ctx, func() error { return find(ctx, tasks) })
	})
	buffers := sync.Pool{New: func() any { return new([copyBuffer]byte) }}
	for range max(4, runtime.GOMAXPROCS(0)+2) {
		group.Go(func() error {
			return gently(ctx, func() error {
				buf := buffers.Get().(*[copyBuffer]byte)
				defer buffers.Put(buf)
				for t := range tasks {
					err := p.writeFile(ctx, t, buf[:])
					t.in.release()
					if err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	err := group.Wait()
	for t := range tasks { // what a failure left there
		t.in.release()
	}
	return err
}

func (p *planting) makeEach(ctx context.Context, tasks chan<- task) error {
	var at folderStack
	defer at.close()
	var out leaving
	for n, err := range p.list(ctx) {
		if err != nil {
			return p.endOfList(err)
		}
		if out.has(n) {
			if err := p.bear(n, leftOut, errFolderLost); err != nil {
				return err
			}
			continue
		}
		in, err := at.top(n.depth(), stay)
		if err != nil {
			return err
		}
		p.made.add(n)
		switch n.Type {
		case Folder:
			f, err := p.makeFolder(in, n)
			if err != nil {
				if err := p.bear(n, leftOut, err); err != nil || in == nil {
					return cmp.Or(err, errFolderLost)
				}
				out = leaving{n.Path + "/"}
				continue
			}
			at.push(f, n)
		case RegularFile:
			if err := p.order(ctx, tasks, in, filepath.Base(n.Path), n); err != nil {
				return err
			}
		case HardLink:
		default:
			if err := p.makeOther(in, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// leaving is the path, with a slash, of a folder that is left out.
type leaving struct{ folder string }

func (l leaving) has(n *Node) bool { return l.folder != "" && strings.HasPrefix(n.Path, l.folder) }

var errFolderLost = errors.New("its folder could not be made")

// endOfList notes that the list of what was dumped cannot be read to its end.
func (p *planting) endOfList(err error) error {
	if p.losses.bears(Loss{Source: p.e.Name, What: leftOut}, fmt.Errorf("the list of its files cannot be read any further: %w", err)) {
		return nil
	}
	return err
}

// order asks for a file to be written.
func (p *planting) order(ctx context.Context, tasks chan<- task, in *openFolder, name string, n *Node) error {
	t := task{in: in.hold(), name: name, node: n}
	t.uid, t.gid = p.owner(n)
	select {
	case tasks <- t:
		return nil
	case <-ctx.Done():
		t.in.release()
		return context.Cause(ctx)
	}
}

func (p *planting) makeFolder(in *openFolder, n *Node) (*openFolder, error) {
	if in == nil {
		return p.open(in, n)
	}
	f, err := in.make(filepath.Base(n.Path))
	if err != nil {
		return nil, p.failed("make folder", n, err)
	}
	return f, nil
}

// makeOther makes a symlink, a fifo or a device.
func (p *planting) makeOther(in *openFolder, n *Node) error {
	name := filepath.Base(n.Path)
	var err error
	if n.Type == Symlink {
		err = unix.Symlinkat(n.Target, in.fd, name)
	} else {
		err = makeNode(in, name, n.Type, n.Device)
	}
	if err != nil {
		return p.bear(n, leftOut, p.failed("make", n, err))
	}
	uid, gid := p.owner(n)
	err = chown(uid, gid, func(u, g int) error {
		return unix.Fchownat(in.fd, name, u, g, unix.AT_SYMLINK_NOFOLLOW)
	}, p.root)
	if err = p.step("change owner of", ofOwner, n, err); err != nil {
		return err
	}
	if err := p.setXattrs(namedXattrs(in, name), n); err != nil {
		return err
	}
	if n.Type != Symlink {
		err := fsx.Chmod(in.fd, name, n.Mode)
		if err = p.step("change mode of", ofMode, n, err); err != nil {
			return err
		}
	}
	return p.setTime(in.fd, name, n)
}

// finishAll is the second pass.
func (p *planting) finishAll(ctx context.Context) error {
	var at folderStack
	defer at.close()
	var out leaving
	for n, err := range p.list(ctx) {
		if err != nil && p.losses == nil {
			return err
		}
		if err != nil {
			break // the first pass has noted it
		}
		if out.has(n) {
			continue
		}
		in, err := at.top(n.depth(), p.finishFolder)
		if err != nil {
			return err
		}
		switch n.Type {
		case Folder:
			f, err := p.open(in, n)
			if err != nil && p.losses != nil && in != nil {
				out = leaving{n.Path + "/"} // likewise
				continue
			}
			if err != nil {
				return err
			}
			at.push(f, n)
		case HardLink:
			if err := p.bear(n, leftOut, p.link(p.top, in, n)); err != nil {
				return err
			}
		}
	}
	_, err := at.top(0, p.finishFolder)
	return err
}

// link makes a hard link.
func (p *planting) link(root, in *openFolder, n *Node) error {
	at, name, _, err := linkedFile(root, n)
	if err != nil {
		return p.failed("link", n, err)
	}
	defer at.release()
	if err := unix.Linkat(at.fd, name, in.fd, filepath.Base(n.Path), 0); err != nil {
		return p.failed("link", n, err)
	}
	return nil
}

// linkedFile finds what a hard link is to, by way of folders alone: a tree that says
// otherwise would give a file outside of it a name in it. The caller releases
// the folder.
func linkedFile(f *openFolder, n *Node) (at *openFolder, name string, st unix.Stat_t, err error) {
	if !filepath.IsLocal(n.Target) || comparePaths(n.Target, n.Path) >= 0 {
		return nil, "", st, fmt.Errorf("%w: it leads to %q", errTree, n.Target)
	}
	names := strings.Split(n.Target, "/")
	at = f.hold()
	for _, folder := range names[:len(names)-1] {
		next, err := at.folder(folder)
		at.release()
		if err != nil {
			return nil, "", st, err
		}
		at = next
	}
	name = names[len(names)-1]
	if err = at.stat(name, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = fmt.Errorf("%w: %q, to which it leads, is a folder", errTree, n.Target)
	}
	if err != nil {
		at.release()
		return nil, "", st, err
	}
	return at, name, st, nil
}

// finishFolder gives a folder its metadata, once nothing more is made in it. The one
// that holds all waits.
func (p *planting) finishFolder(in, f *openFolder, n *Node) error {
	if in == nil {
		p.topped = n
		return nil
	}
	return p.finishOne(f, n)
}

func (p *planting) finishOne(f *openFolder, n *Node) error {
	uid, gid := p.owner(n)
	if err := p.setMeta(f.fd, n, uid, gid); err != nil {
		return err
	}
	return p.setTime(f.fd, ".", n)
}

// finishTop lets others in.
func (p *planting) finishTop() error {
	if p.topped == nil {
		return nil // a list without a beginning, of which the losses tell
	}
	return p.finishOne(p.top, p.topped)
}

// compare checks that what was made is what was dumped.
func (p *planting) compare(want *DirectoryFacts) error {
	type counts struct{ files, folders, symlinks, links, specials, bytes int64 }
	made := counts{p.made.Files, p.made.Folders, p.made.Symlinks, p.made.HardLinks, p.made.Specials, p.bytes.Load()}
	meant := counts{want.Files, want.Folders, want.Symlinks, want.HardLinks, want.Specials, want.Bytes}
	if made != meant {
		return fmt.Errorf("restore %s: made %+v, but the backup says %+v", p.e.Name, made, meant)
	}
	return nil
}
