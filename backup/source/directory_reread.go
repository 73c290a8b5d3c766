package source

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
)

// stagedTree is the content of a staged directory.
type stagedTree struct {
	root *openFolder
	list *os.File
}

func openStagedTree(s *site) (*stagedTree, error) {
	if s.in == nil {
		return nil, &fs.PathError{Op: "open", Path: s.path(s.staged), Err: unix.ENOENT}
	}
	root, err := openRoot(fsx.Place{Dir: s.in, Name: s.staged})
	if err != nil {
		return nil, err
	}
	list, err := openList(s.in, s.list)
	if err != nil {
		root.release()
		return nil, err
	}
	return &stagedTree{root, list}, nil
}

// Close implements StagedContent.
func (t *stagedTree) Close() error {
	t.root.release()
	return t.list.Close()
}

// nodes is the list that was opened, whatever has its name by now.
func (t *stagedTree) nodes() nodes {
	return listedNodes(t.list)
}

// Read implements StagedContent.
func (t *stagedTree) Read(ctx context.Context, r *pack.Reader, from Spot, budget int64) (p Passage, err error) {
	for n, err := range t.nodes()(ctx) {
		if err != nil {
			return p, err
		}
		order := 1
		if from.Path != "" {
			order = comparePaths(n.Path, from.Path)
		}
		if n.Type != RegularFile || order < 0 || order == 0 && from.Offset == pastEnd {
			continue
		}
		var offset int64
		if order == 0 {
			offset = from.Offset
		}
		if p.Next = (Spot{Path: n.Path, Offset: offset}); p.Cost >= budget {
			return p, nil
		}
		if on, err := t.readOne(ctx, r, n, &p, budget); err != nil || !on {
			return p, err
		}
	}
	p.Next, p.Ended = Spot{}, true
	return p, nil
}

// readOne reads a file from p.Next on, and reports whether to go on.
func (t *stagedTree) readOne(ctx context.Context, r *pack.Reader, n *Node, p *Passage, budget int64) (on bool, err error) {
	next, ended, same, err := t.compare(ctx, r, n, p.Next.Offset, budget-p.Cost)
	if errors.Is(err, fs.ErrPermission) {
		p.Unread++
		return true, nil
	}
	if err != nil {
		return false, err
	}
	countPassage(p, next-p.Next.Offset)
	switch {
	case !same:
		p.Bad = &Spot{Path: n.Path, Offset: next}
	case ended:
		p.Files++
		return true, nil
	default:
		p.Next.Offset = next
	}
	return false, nil
}

func (t *stagedTree) compare(ctx context.Context, r *pack.Reader, n *Node, from, budget int64) (next int64, ended, same bool, err error) {
	fd, err := fsx.Beneath(t.root.fd, n.Path, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		if err == unix.EACCES || err == unix.EPERM {
			return from, false, true, &fs.PathError{Op: "open", Path: n.Path, Err: err}
		}
		return from, false, false, nil // gone, or another kind of entry
	}
	data := n.Data
	if n.Sparse == 0 {
		data = []Extent{{Offset: 0, Length: n.Size}}
	}
	one := &portion{file: os.NewFile(uintptr(fd), n.Path), data: data, stream: n.Content}
	next, ended, same, err = one.read(ctx, r, from, budget)
	return next, ended, same, errors.Join(err, one.close())
}

// OpenStaged implements Rereader.
func (d *Directory) OpenStaged(Entry) (content StagedContent, err error) {
	err = d.do(func(p placement) error {
		content, err = openStagedTree(p.at())
		return err
	})
	return content, err
}

// Distrust implements Rereader: the entry's mark is taken away.
func (d *Directory) Distrust(ctx context.Context, r *pack.Reader, _ Entry, at Spot) (bad bool, err error) {
	err = d.do(func(p placement) error {
		t, err := openStagedTree(p.at())
		if err != nil {
			return err
		}
		defer t.Close()
		number := int64(-1)
		for n, err := range t.nodes()(ctx) {
			if err != nil {
				return err
			}
			if number++; n.Path != at.Path || n.Type != RegularFile {
				continue
			}
			if _, _, same, err := t.compare(ctx, r, n, at.Offset, 1); err != nil || same {
				return err
			}
			bad = true
			return spoilMark(p.at(), number)
		}
		return nil
	})
	return bad, err
}

// spoilMark takes the mark of one entry away, durably.
func spoilMark(s *site, number int64) error {
	f, err := s.in.Open(s.marks, unix.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, markSize), number*markSize)
	return errors.Join(err, f.Sync(), f.Close())
}
