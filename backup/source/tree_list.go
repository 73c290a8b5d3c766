package source

import (
	"context"
	"io"
	"iter"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
)

// nodes yields the nodes of a tree. It may be run several times.
type nodes func(ctx context.Context) iter.Seq2[*Node, error]

// dumpedNodes reads the tree of a dumped directory.
func dumpedNodes(r chunkReader, root pack.Stream) nodes {
	return func(ctx context.Context) iter.Seq2[*Node, error] { return tree(ctx, r, root) }
}

// openList opens the file of a list. Whatever has its name later, this one is read.
func openList(in *fsx.Dir, name string) (*os.File, error) { return in.Open(name, unix.O_RDONLY) }

// listedNodes reads the tree in an open file, which writeList wrote.
func listedNodes(list *os.File) nodes {
	return func(ctx context.Context) iter.Seq2[*Node, error] {
		return func(yield func(*Node, error) bool) {
			text := io.NewSectionReader(list, 0, math.MaxInt64)
			for n, err := range readTree(io.NopCloser(text)) {
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

// writeList keeps the tree of a dumped directory in a file, durably: to find
// out what changed when another one is to be staged in its place.
func writeList(ctx context.Context, r chunkReader, root pack.Stream, in *fsx.Dir, name string) error {
	return in.Write(name, func(f *os.File) error { return copyStream(ctx, r, root, f) })
}

// readTree yields the nodes of a tree stream, and closes it. It ends after the
// first error.
func readTree(stream io.ReadCloser) iter.Seq2[*Node, error] {
	return func(yield func(*Node, error) bool) {
		defer stream.Close()
		dec := newTreeDecoder(stream)
		for {
			n, err := dec.next()
			if err == io.EOF {
				return
			}
			if !yield(n, err) || err != nil {
				return
			}
		}
	}
}

// nodePair is what two trees have at one path; nil where one has nothing.
type nodePair struct{ a, b *Node }

// mergeTrees walks two trees at once, in memory that does not grow with them.
// It ends after the first error.
func mergeTrees(a, b iter.Seq2[*Node, error]) iter.Seq2[nodePair, error] {
	return func(yield func(nodePair, error) bool) {
		nextA, stopA := iter.Pull2(a)
		defer stopA()
		nextB, stopB := iter.Pull2(b)
		defer stopB()
		x, errA, moreA := nextA()
		y, errB, moreB := nextB()
		for moreA || moreB {
			for _, err := range []error{errA, errB} {
				if err != nil {
					yield(nodePair{}, err)
					return
				}
			}
			pair := nodePair{x, y}
			switch {
			case !moreB || moreA && comparePaths(x.Path, y.Path) < 0:
				pair.b = nil
			case !moreA || comparePaths(x.Path, y.Path) > 0:
				pair.a = nil
			}
			if !yield(pair, nil) {
				return
			}
			if pair.a != nil {
				x, errA, moreA = nextA()
			}
			if pair.b != nil {
				y, errB, moreB = nextB()
			}
		}
	}
}
