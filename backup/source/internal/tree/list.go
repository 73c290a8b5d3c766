package tree

import (
	"context"
	"io"
	"iter"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
)

// Nodes yields the nodes of a tree. It may be run several times.
type Nodes func(ctx context.Context) iter.Seq2[*Node, error]

// Dumped reads the tree of a dumped directory.
func Dumped(r chunks.Reader, root pack.Stream) Nodes {
	return func(ctx context.Context) iter.Seq2[*Node, error] { return Of(ctx, r, root) }
}

// OpenList opens the file of a list. Whatever has its name later, this one is read.
func OpenList(in *fsx.Dir, name string) (*os.File, error) { return in.Open(name, unix.O_RDONLY) }

// Listed reads the tree in an open file, which WriteList wrote.
func Listed(list *os.File) Nodes {
	return func(ctx context.Context) iter.Seq2[*Node, error] {
		return func(yield func(*Node, error) bool) {
			text := io.NewSectionReader(list, 0, math.MaxInt64)
			for n, err := range Read(io.NopCloser(text)) {
				if err == nil && ctx.Err() != nil {
					err = context.Cause(ctx)
				}
				if !yield(n, err) || err != nil {
					return
				}
			}
		}
	}
}

// WriteList keeps the tree of a dumped directory in a file, durably: to find
// out what changed when another one is to be staged in its place.
func WriteList(ctx context.Context, r chunks.Reader, root pack.Stream, in *fsx.Dir, name string) error {
	return in.Write(name, func(f *os.File) error { return chunks.Copy(ctx, r, root, f) })
}

// Read yields the nodes of a tree stream, and closes it. It ends after the
// first error.
func Read(stream io.ReadCloser) iter.Seq2[*Node, error] {
	return func(yield func(*Node, error) bool) {
		defer stream.Close()
		dec := NewDecoder(stream)
		for {
			n, err := dec.Next()
			if err == io.EOF {
				return
			}
			if !yield(n, err) || err != nil {
				return
			}
		}
	}
}

// Pair is what two trees have at one path; nil where one has nothing.
type Pair struct{ A, B *Node }

// Merge walks two trees at once, in memory that does not grow with them.
// It ends after the first error.
func Merge(a, b iter.Seq2[*Node, error]) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		nextA, stopA := iter.Pull2(a)
		defer stopA()
		nextB, stopB := iter.Pull2(b)
		defer stopB()
		x, errA, moreA := nextA()
		y, errB, moreB := nextB()
		for moreA || moreB {
			for _, err := range []error{errA, errB} {
				if err != nil {
					yield(Pair{}, err)
					return
				}
			}
			pair := Pair{x, y}
			switch {
			case !moreB || moreA && ComparePaths(x.Path, y.Path) < 0:
				pair.B = nil
			case !moreA || ComparePaths(x.Path, y.Path) > 0:
				pair.A = nil
			}
			if !yield(pair, nil) {
				return
			}
			if pair.A != nil {
				x, errA, moreA = nextA()
			}
			if pair.B != nil {
				y, errB, moreB = nextB()
			}
		}
	}
}
