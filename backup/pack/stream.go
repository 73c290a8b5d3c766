package pack

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"
)

// Stream is a sequence of bytes kept as chunks. With Depth 0, Chunks are the
// content in order. With Depth 1, Chunks hold a list of chunk ids, which are
// the content; and so on. (JSON: size, depth, chunks as base64url.)
type Stream struct {
	Size   int64 `json:"size"`
	Depth  int   `json:"depth,omitempty"`
	Chunks []ID  `json:"chunks"`
}

// Equal reports whether two streams are kept as the same chunks, which means
// that they have the same content.
func (s Stream) Equal(t Stream) bool {
	return s.Size == t.Size && s.Depth == t.Depth && slices.Equal(s.Chunks, t.Chunks)
}

// Info describes a pack.
type Info struct {
	Digest Digest
	Size   int64     // bytes of ciphertext
	Time   time.Time // when it was last written, by the store's clock; whole milliseconds
	Meta   bool      // holds metadata
}

// Packs reads packs: from a local cache, from the bucket, or from one after
// the other.
type Packs interface {
	// ReadPack fills buf from offset off of the pack, or fails. A missing pack
	// is an error that wraps fs.ErrNotExist.
	ReadPack(ctx context.Context, d Digest, off int64, buf []byte) error
}

// FirstOf reads each pack from the first of sources that has it. A Reader, and
// LoadIndex, also turn to the later ones where an earlier one's copy is
// damaged.
func FirstOf(sources ...Packs) Packs { return firstOf(sources) }

type firstOf []Packs

func (f firstOf) ReadPack(ctx context.Context, d Digest, off int64, buf []byte) error {
	var err error = fs.ErrNotExist
	for _, p := range f {
		if err = p.ReadPack(ctx, d, off, buf); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// fallbacks are the sources to turn to where a pack that packs gave is damaged.
func fallbacks(packs Packs) []Packs {
	if f, ok := packs.(firstOf); ok && len(f) > 1 {
		return f[1:]
	}
	return nil
}
