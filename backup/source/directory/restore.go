package directory

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
	"github.com/understudy-ha/understudy/backup/polite"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// plant restores a dumped directory, with the nodes of list, to a folder that is
// empty and this process's alone. What it leaves is whole and durable, and as much
// as the entry says.
//
// The list is read twice. The first pass makes everything but hard links, the
// second one these and then, on leaving it, each folder's metadata: making
// something in a folder changes the folder's time. Neither pass remembers more
// than the folders that it is in.
func plant(ctx context.Context, r chunks.Reader, e source.Entry, list tree.Nodes, dest *fsx.Dir) error {
	return plantAnd(ctx, r, e, list, dest, func(*opendir.Dir) error { return nil })
}

// plantAnd looks at what it has made before anybody else can reach it: the folder
// itself gets its owner and its mode at the very end.
func plantAnd(ctx context.Context, r chunks.Reader, e source.Entry, list tree.Nodes, dest *fsx.Dir, look func(*opendir.Dir) error) error {
	p, facts, err := newPlanting(ctx, r, e, list, dest.Path())
	if err != nil {
		return err
	}
	if p.top, err = opendir.OpenHeld(dest); err != nil {
		return err
	}
	defer p.top.Release()
	if err := p.makeAll(ctx); err != nil {
		return err
	}
	if err := p.finishAll(ctx); err != nil {
		return err
	}
	if p.Losses == nil || p.Losses.Total() == 0 {
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
	return syncTree(p.top.FD, p.Dest)
}

// plantSound is plant for a stage: the databases in it are held to SQLite's own
// check.
func plantSound(ctx context.Context, r chunks.Reader, e source.Entry, list tree.Nodes, dest *fsx.Dir) error {
	databases, err := soundDatabases(ctx, r, e)
	if err != nil {
		return err
	}
	unset := new(source.Losses)
	return plantAnd(source.WithUnset(ctx, unset), r, e, list, dest, func(top *opendir.Dir) error {
		if err := source.JudgeUnset(ctx, unset); err != nil {
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

func newPlanting(ctx context.Context, r chunks.Reader, e source.Entry, list tree.Nodes, dest string) (*planting, Facts, error) {
	var facts Facts
	if e.Kind != Kind {
		return nil, facts, fmt.Errorf("restore %s: it is a %s, not a directory", e.Name, e.Kind)
	}
	if err := json.Unmarshal(e.Facts, &facts); err != nil {
		return nil, facts, fmt.Errorf("restore %s: read facts: %w", e.Name, err)
	}
	return &planting{
		Setter: meta.Setter{
			Source: e.Name, Dest: dest, Root: os.Geteuid() == 0, Owners: meta.NewOwnerIDs(), Losses: source.LossesOf(ctx), Unset: source.UnsetOf(ctx),
		},
		r: r, e: e, list: list, large: newTurn(),
	}, facts, nil
}

// planting is one restore of a directory.
type planting struct {
	meta.Setter
	r      chunks.Reader
	e      source.Entry
	list   tree.Nodes
	top    *opendir.Dir // the new folder
	topped *tree.Node   // what it is to be like
	made   Facts        // by the first pass
	bytes  atomic.Int64 // written
	large  turn
	begun  chan chan struct{} // what is closed when a file has been written, in order
}

// dirStack is the chain of open folders down to where a pass is.
type dirStack struct {
	folders []*opendir.Dir
	nodes   []*tree.Node
}

// top gives the folder that a node of that depth is in, after handing those
// that the pass has left, innermost first, to leave.
func (s *dirStack) top(depth int, leave func(in, f *opendir.Dir, n *tree.Node) error) (*opendir.Dir, error) {
	for len(s.folders) > depth {
		last := len(s.folders) - 1
		f, n := s.folders[last], s.nodes[last]
		var in *opendir.Dir
		if last > 0 {
			in = s.folders[last-1]
		}
		s.folders, s.nodes = s.folders[:last], s.nodes[:last]
		err := leave(in, f, n)
		f.Release()
		if err != nil {
			return nil, err
		}
	}
	if depth == 0 {
		return nil, nil
	}
	return s.folders[depth-1], nil
}

func (s *dirStack) push(f *opendir.Dir, n *tree.Node) {
	s.folders, s.nodes = append(s.folders, f), append(s.nodes, n)
}

func (s *dirStack) close() {
	for _, f := range s.folders {
		f.Release()
	}
}

// open opens a node's folder, which exists.
func (p *planting) open(in *opendir.Dir, n *tree.Node) (*opendir.Dir, error) {
	if in == nil {
		return p.top.Hold(), nil
	}
	f, err := in.OpenDir(filepath.Base(n.Path))
	if err != nil {
		return nil, p.Failed("open", n, err)
	}
	return f, nil
}

func stay(_, _ *opendir.Dir, _ *tree.Node) error { return nil }

// task is a file to be written under a name in a folder.
type task struct {
	in       *opendir.Dir
	name     string
	node     *tree.Node
	uid, gid uint32
	done     chan struct{} // closed when it has been written
}

// makeAll is the first pass.
func (p *planting) makeAll(ctx context.Context) error { return p.writeFiles(ctx, p.makeEach) }

// writeFiles writes the files that find asks for, several at a time, about in the
// order in which they were read: what is needed next was read last (largeFile).
func (p *planting) writeFiles(ctx context.Context, find func(context.Context, chan<- task) error) error {
	group, ctx := errgroup.WithContext(ctx)
	tasks := make(chan task, 128)
	p.begun = make(chan chan struct{}, ahead)
	group.Go(func() error {
		for done := range p.begun {
			select {
			case <-done:
			case <-ctx.Done():
			}
		}
		return nil
	})
	group.Go(func() error {
		defer close(tasks)
		defer close(p.begun)
		return polite.Do(ctx, func() error { return find(ctx, tasks) })
	})
	buffers := sync.Pool{New: func() any { return new([copyBuffer]byte) }}
	for range max(4, runtime.GOMAXPROCS(0)+2) {
		group.Go(func() error {
			return polite.Do(ctx, func() error {
				buf := buffers.Get().(*[copyBuffer]byte)
				defer buffers.Put(buf)
				for t := range tasks {
					err := p.writeFile(ctx, t, buf[:])
					t.in.Release()
					if err != nil {
						return err
					}
					close(t.done)
				}
				return nil
			})
		})
	}
	err := group.Wait()
	for t := range tasks { // what a failure left there
		t.in.Release()
	}
	return err
}

func (p *planting) makeEach(ctx context.Context, tasks chan<- task) error {
	var at dirStack
	defer at.close()
	var out leaving
	for n, err := range p.list(ctx) {
		if err != nil {
			return p.endOfList(err)
		}
		if out.has(n) {
			if err := p.Bear(n, source.LeftOut, errDirLost); err != nil {
				return err
			}
			continue
		}
		in, err := at.top(n.Depth(), stay)
		if err != nil {
			return err
		}
		p.made.add(n)
		switch n.Type {
		case tree.Directory:
			f, err := p.makeDir(in, n)
			if err != nil {
				if err := p.Bear(n, source.LeftOut, err); err != nil || in == nil {
					return cmp.Or(err, errDirLost)
				}
				out = leaving{n.Path + "/"}
				continue
			}
			at.push(f, n)
		case tree.RegularFile:
			if err := p.order(ctx, tasks, in, filepath.Base(n.Path), n); err != nil {
				return err
			}
		case tree.HardLink:
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

func (l leaving) has(n *tree.Node) bool { return l.folder != "" && strings.HasPrefix(n.Path, l.folder) }

var errDirLost = errors.New("its folder could not be made")

// endOfList notes that the list of what was dumped cannot be read to its end.
func (p *planting) endOfList(err error) error {
	if p.Losses.Bears(source.Loss{Source: p.e.Name, What: source.LeftOut}, fmt.Errorf("the list of its files cannot be read any further: %w", err)) {
		return nil
	}
	return err
}

// order asks for a file to be written.
func (p *planting) order(ctx context.Context, tasks chan<- task, in *opendir.Dir, name string, n *tree.Node) error {
	t := task{in: in.Hold(), name: name, node: n, done: make(chan struct{})}
	t.uid, t.gid = p.Owner(n)
	err := send(ctx, p.begun, t.done)
	if err == nil {
		err = send(ctx, tasks, t)
	}
	if err != nil {
		t.in.Release()
	}
	return err
}

func (p *planting) makeDir(in *opendir.Dir, n *tree.Node) (*opendir.Dir, error) {
	if in == nil {
		return p.open(in, n)
	}
	f, err := in.Make(filepath.Base(n.Path))
	if err != nil {
		return nil, p.Failed("make folder", n, err)
	}
	return f, nil
}

// makeOther makes a symlink, a fifo or a device.
func (p *planting) makeOther(in *opendir.Dir, n *tree.Node) error {
	name := filepath.Base(n.Path)
	var err error
	if n.Type == tree.Symlink {
		err = unix.Symlinkat(n.Target, in.FD, name)
	} else {
		err = makeNode(in, name, n.Type, n.Device)
	}
	if err != nil {
		return p.Bear(n, source.LeftOut, p.Failed("make", n, err))
	}
	uid, gid := p.Owner(n)
	err = meta.Chown(uid, gid, func(u, g int) error {
		return unix.Fchownat(in.FD, name, u, g, unix.AT_SYMLINK_NOFOLLOW)
	}, p.Root)
	if err = p.Step("change owner of", source.OfOwner, n, err); err != nil {
		return err
	}
	if err := p.SetXattrs(meta.NamedXattrs(in, name), n); err != nil {
		return err
	}
	if n.Type != tree.Symlink {
		err := fsx.Chmod(in.FD, name, n.Mode)
		if err = p.Step("change mode of", source.OfMode, n, err); err != nil {
			return err
		}
	}
	return p.SetTime(in.FD, name, n)
}

// finishAll is the second pass.
func (p *planting) finishAll(ctx context.Context) error {
	var at dirStack
	defer at.close()
	var out leaving
	for n, err := range p.list(ctx) {
		if err != nil && p.Losses == nil {
			return err
		}
		if err != nil {
			break // the first pass has noted it
		}
		if out.has(n) {
			continue
		}
		in, err := at.top(n.Depth(), p.finishDir)
		if err != nil {
			return err
		}
		switch n.Type {
		case tree.Directory:
			f, err := p.open(in, n)
			if err != nil && p.Losses != nil && in != nil {
				out = leaving{n.Path + "/"} // likewise
				continue
			}
			if err != nil {
				return err
			}
			at.push(f, n)
		case tree.HardLink:
			if err := p.Bear(n, source.LeftOut, p.link(p.top, in, n)); err != nil {
				return err
			}
		}
	}
	_, err := at.top(0, p.finishDir)
	return err
}

// link makes a hard link.
func (p *planting) link(root, in *opendir.Dir, n *tree.Node) error {
	at, name, _, err := linkedFile(root, n)
	if err != nil {
		return p.Failed("link", n, err)
	}
	defer at.Release()
	if err := unix.Linkat(at.FD, name, in.FD, filepath.Base(n.Path), 0); err != nil {
		return p.Failed("link", n, err)
	}
	return nil
}

// linkedFile finds what a hard link is to, by way of folders alone: a tree that says
// otherwise would give a file outside of it a name in it. The caller releases
// the folder.
func linkedFile(f *opendir.Dir, n *tree.Node) (at *opendir.Dir, name string, st unix.Stat_t, err error) {
	if !filepath.IsLocal(n.Target) || tree.ComparePaths(n.Target, n.Path) >= 0 {
		return nil, "", st, fmt.Errorf("%w: it leads to %q", tree.ErrMalformed, n.Target)
	}
	names := strings.Split(n.Target, "/")
	at = f.Hold()
	for _, folder := range names[:len(names)-1] {
		next, err := at.OpenDir(folder)
		at.Release()
		if err != nil {
			return nil, "", st, err
		}
		at = next
	}
	name = names[len(names)-1]
	if err = at.Stat(name, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = fmt.Errorf("%w: %q, to which it leads, is a folder", tree.ErrMalformed, n.Target)
	}
	if err != nil {
		at.Release()
		return nil, "", st, err
	}
	return at, name, st, nil
}

// finishDir gives a folder its metadata, once nothing more is made in it. The one
// that holds all waits.
func (p *planting) finishDir(in, f *opendir.Dir, n *tree.Node) error {
	if in == nil {
		p.topped = n
		return nil
	}
	return p.finishOne(f, n)
}

func (p *planting) finishOne(f *opendir.Dir, n *tree.Node) error {
	uid, gid := p.Owner(n)
	if err := p.SetMeta(f.FD, n, uid, gid); err != nil {
		return err
	}
	return p.SetTime(f.FD, ".", n)
}

// finishTop lets others in.
func (p *planting) finishTop() error {
	if p.topped == nil {
		return nil // a list without a beginning, of which the losses tell
	}
	return p.finishOne(p.top, p.topped)
}

// compare checks that what was made is what was dumped.
func (p *planting) compare(want *Facts) error {
	type counts struct{ files, folders, symlinks, links, specials, bytes int64 }
	made := counts{p.made.Files, p.made.Folders, p.made.Symlinks, p.made.HardLinks, p.made.Specials, p.bytes.Load()}
	meant := counts{want.Files, want.Folders, want.Symlinks, want.HardLinks, want.Specials, want.Bytes}
	if made != meant {
		return fmt.Errorf("restore %s: made %+v, but the backup says %+v", p.e.Name, made, meant)
	}
	return nil
}
