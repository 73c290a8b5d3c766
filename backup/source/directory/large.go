package directory

import "context"

// largeFile is the size of files, in bytes, from which on they are read, or written,
// one after the other.
//
// What is read together lies together in packs. Were several large files read at a
// time, a restore would have to write them at the very same pace, or else read those
// packs again and again: it keeps only some megabytes of what it has read.
const largeFile = 8 << 20

// turn is held by whoever reads or writes a large file.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// of waits for the turn of a file of some size, and returns what ends it.
func (t turn) of(ctx context.Context, size int64) (end func(), err error) {
	if size < largeFile {
		return func() {}, nil
	}
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// ahead is how many files may be read, or written, before one that was begun earlier
// has come to its end.
const ahead = 256
