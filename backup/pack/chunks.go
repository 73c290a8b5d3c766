package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Chunk is one chunk of a stream.
type Chunk struct {
	ID   ID
	Size int // in bytes
}

// Chunks yields a stream's chunks in their order. Nothing is read but the lists
// of chunks that a long stream has. It ends after the first error.
func (r *Reader) Chunks(ctx context.Context, s Stream) iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		if r.err != nil {
			yield(Chunk{}, r.err)
			return
		}
		var ids idSource = &idList{ids: s.Chunks}
		if s.Depth > 0 {
			ids = &idStream{src: r.open(ctx, Stream{Size: -1, Depth: s.Depth - 1, Chunks: s.Chunks})}
		}
		defer ids.close()
		for {
			id, err := ids.next()
			if errors.Is(err, io.EOF) {
				return
			}
			var c Chunk
			if err == nil {
				c, err = r.sized(id)
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

func (r *Reader) sized(id ID) (Chunk, error) {
	_, rec, ok := r.index.find(id)
	if !ok {
		return Chunk{}, fmt.Errorf("%w: the backup's index lacks chunk %s: restore another backup", ErrCorrupt, id)
	}
	return Chunk{ID: id, Size: int(rec.size)}, nil
}

// Is reports whether data is what a chunk of this name holds.
func (r *Reader) Is(id ID, data []byte) bool { return r.err == nil && r.codec.id(data) == id }
