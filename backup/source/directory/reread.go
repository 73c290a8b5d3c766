package directory

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
	"github.com/understudy-ha/understudy/backup/source/internal/reread"
	"github.com/understudy-ha/understudy/backup/source/internal/stage"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// stagedTree is the content of a staged directory.
type stagedTree struct {
	root *opendir.Dir
	list *os.File
}

func openStagedTree(s *stage.Stage) (*stagedTree, error) {
	if s.In == nil {
		return nil, &fs.PathError{Op: "open", Path: s.Path(s.Staged), Err: unix.ENOENT}
	}
	root, err := opendir.Open(fsx.Place{Dir: s.In, Name: s.Staged})
	if err != nil {
		return nil, err
	}
	list, err := tree.OpenList(s.In, s.List)
	if err != nil {
		root.Release()
		return nil, err
	}
	return &stagedTree{root, list}, nil
}

// Close implements StagedContent.
func (t *stagedTree) Close() error {
	t.root.Release()
	return t.list.Close()
}

// nodes is the list that was opened, whatever has its name by now.
func (t *stagedTree) nodes() tree.Nodes {
	return tree.Listed(t.list)
}

// Read implements StagedContent.
func (t *stagedTree) Read(ctx context.Context, r *pack.Reader, from source.Spot, budget int64) (p source.Passage, err error) {
	for n, err := range t.nodes()(ctx) {
		if err != nil {
			return p, err
		}
		order := 1
		if from.Path != "" {
			order = tree.ComparePaths(n.Path, from.Path)
		}
		if n.Type != tree.RegularFile || order < 0 || order == 0 && from.Offset == source.PastEnd {
			continue
		}
		var offset int64
		if order == 0 {
			offset = from.Offset
		}
		if p.Next = (source.Spot{Path: n.Path, Offset: offset}); p.Cost >= budget {
			return p, nil
		}
		if on, err := t.readOne(ctx, r, n, &p, budget); err != nil || !on {
			return p, err
		}
	}
	p.Next, p.Ended = source.Spot{}, true
	return p, nil
}

// readOne reads a file from p.Next on, and reports whether to go on.
func (t *stagedTree) readOne(ctx context.Context, r *pack.Reader, n *tree.Node, p *source.Passage, budget int64) (on bool, err error) {
	next, ended, same, err := t.compare(ctx, r, n, p.Next.Offset, budget-p.Cost)
	if errors.Is(err, fs.ErrPermission) {
		p.Unread++
		return true, nil
	}
	if err != nil {
		return false, err
	}
	reread.Count(p, next-p.Next.Offset)
	switch {
	case !same:
		p.Bad = &source.Spot{Path: n.Path, Offset: next}
	case ended:
		p.Files++
		return true, nil
	default:
		p.Next.Offset = next
	}
	return false, nil
}

func (t *stagedTree) compare(ctx context.Context, r *pack.Reader, n *tree.Node, from, budget int64) (next int64, ended, same bool, err error) {
	fd, err := fsx.Beneath(t.root.FD, n.Path, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		if err == unix.EACCES || err == unix.EPERM {
			return from, false, true, &fs.PathError{Op: "open", Path: n.Path, Err: err}
		}
		return from, false, false, nil // gone, or another kind of entry
	}
	data := n.Data
	if n.Sparse == 0 {
		data = []tree.Extent{{Offset: 0, Length: n.Size}}
	}
	one := &reread.Portion{File: os.NewFile(uintptr(fd), n.Path), Data: data, Stream: n.Content}
	next, ended, same, err = one.Compare(ctx, r, from, budget)
	return next, ended, same, errors.Join(err, one.Close())
}

// OpenStaged implements Rereader.
func (d *Source) OpenStaged(source.Entry) (content source.StagedContent, err error) {
	err = d.do(func(p stage.Placement) error {
		content, err = openStagedTree(p.At())
		return err
	})
	return content, err
}

// Distrust implements Rereader: the entry's mark is taken away.
func (d *Source) Distrust(ctx context.Context, r *pack.Reader, _ source.Entry, at source.Spot) (bad bool, err error) {
	err = d.do(func(p stage.Placement) error {
		t, err := openStagedTree(p.At())
		if err != nil {
			return err
		}
		defer t.Close()
		number := int64(-1)
		for n, err := range t.nodes()(ctx) {
			if err != nil {
				return err
			}
			if number++; n.Path != at.Path || n.Type != tree.RegularFile {
				continue
			}
			if _, _, same, err := t.compare(ctx, r, n, at.Offset, 1); err != nil || same {
				return err
			}
			bad = true
			return spoilMark(p.At(), number)
		}
		return nil
	})
	return bad, err
}

// spoilMark takes the mark of one entry away, durably.
func spoilMark(s *stage.Stage, number int64) error {
	f, err := s.In.Open(s.Marks, unix.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, markSize), number*markSize)
	return errors.Join(err, f.Sync(), f.Close())
}
