package source

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
)

// Spot is a place in what is staged of a source.
type Spot struct {
	Path   string `json:"path,omitempty"`   // of a file in a directory
	Offset int64  `json:"offset,omitempty"` // in its content
}

// Behind is the spot behind the file at this one.
func (s Spot) Behind() Spot { return Spot{s.Path, pastEnd} }

const pastEnd = math.MaxInt64

// Passage is what a reading of staged content came to.
type Passage struct {
	Next   Spot  // where it goes on
	Ended  bool  // there is no more
	Files  int64 // that were read to their end
	Unread int64 // files that this agent may not read
	Bytes  int64 // that were found to be the backup's
	Cost   int64 // of the budget
	Bad    *Spot // here the content is not the backup's
}

// Rereader is a Restorer whose stage can be read and compared with the chunks of
// the dump: so what has rotted on the disk shows, which no seal and no mark does.
// Holes of files are not read.
type Rereader interface {
	// OpenStaged opens the stage of e. Nothing changes the stage meanwhile; the
	// reading itself may go on beside anything.
	OpenStaged(e Entry) (StagedContent, error)
	// Distrust reads again what was bad, and reports whether it is still so. Then
	// the stage does not count as whole any more. Nothing else changes the stage
	// meanwhile.
	Distrust(ctx context.Context, r *pack.Reader, e Entry, at Spot) (bad bool, err error)
}

// StagedContent is a stage's content.
type StagedContent interface {
	// Read reads about as many bytes as the budget says, and stops at the first
	// that are bad.
	Read(ctx context.Context, r *pack.Reader, from Spot, budget int64) (Passage, error)
	Close() error
}

var (
	_ Rereader = (*Directory)(nil)
	_ Rereader = (*Prometheus)(nil)
	_ Rereader = (*SQLite)(nil)
	_ Rereader = (*File)(nil)
	_ Rereader = (*Command)(nil)
)

// fileCost is what a file counts at least, so that many small ones are not read
// in one go.
const fileCost = 4096

// portion is what is read of one file.
type portion struct {
	file   *os.File
	data   []Extent
	stream pack.Stream
}

// read compares chunks from an offset on, until the budget is spent. next is the
// offset of the chunk that it stopped at.
func (p *portion) read(ctx context.Context, r *pack.Reader, from, budget int64) (next int64, ended, same bool, err error) {
	fd := int(p.file.Fd())
	// What is in memory says nothing of the disk; and others need the memory.
	forget := func() { _ = unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED) } // advice
	forget()
	defer forget()
	var buf []byte
	for c, err := range r.Chunks(ctx, p.stream) {
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return next, false, true, err
		}
		size := int64(c.Size)
		if next+size <= from {
			next += size
			continue
		}
		if budget <= 0 {
			return next, false, true, nil
		}
		if cap(buf) < c.Size {
			buf = make([]byte, c.Size)
		}
		src := &fileReader{fd: fd, path: p.file.Name(), data: skipped(p.data, next)}
		// What the disk cannot give any more is as bad as what it gives wrongly.
		if _, err := io.ReadFull(src, buf[:c.Size]); err != nil || !r.Is(c.ID, buf[:c.Size]) {
			return next, false, false, nil
		}
		next += size
		budget -= size
	}
	return next, true, true, nil
}

// skipped is what is left of a file's parts behind a number of their bytes.
func skipped(data []Extent, n int64) []Extent {
	for i, x := range data {
		if n < x.Length {
			return append([]Extent{{x.Offset + n, x.Length - n}}, data[i+1:]...)
		}
		n -= x.Length
	}
	return nil
}

// close closes the file, whose locks SQLite may need in this very process.
func (p *portion) close() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(p.file.Fd()), &st); err != nil {
		return errors.Join(err, p.file.Close())
	}
	openedHere.close(fileID{uint64(st.Dev), st.Ino}, p.file)
	return nil
}

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
		if p.Next = (Spot{n.Path, offset}); p.Cost >= budget {
			return p, nil
		}
		if on, err := t.readOne(ctx, r, n, &p, budget); err != nil || !on {
			return p, err
		}
	}
	p.Next, p.Ended = Spot{}, true
	return p, nil
}

func (p *Passage) count(bytes int64) {
	p.Bytes += max(bytes, 0)
	p.Cost += max(bytes, fileCost)
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
	p.count(next - p.Next.Offset)
	switch {
	case !same:
		p.Bad = &Spot{n.Path, next}
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
		data = []Extent{{0, n.Size}}
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

// OpenStaged implements Rereader.
func (p *Prometheus) OpenStaged(e Entry) (StagedContent, error) { return p.tree.OpenStaged(e) }

// Distrust implements Rereader.
func (p *Prometheus) Distrust(ctx context.Context, r *pack.Reader, e Entry, at Spot) (bool, error) {
	return p.tree.Distrust(ctx, r, e, at)
}
