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

// maxDepth is the most levels of lists that a stream or an index has. Each
// level multiplies what it can hold by a thousand and more.
const maxDepth = 16

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

// Mender is Packs that keeps copies, and can replace one that is bad.
type Mender interface {
	Packs
	// Mend looks for a sound copy of a pack whose copy here turned out to be
	// missing or damaged, keeps it if it can, and gives where it is read.
	Mend(ctx context.Context, d Digest) (Packs, error)
}

// FirstOf reads each pack from the first of sources that can read it. A Reader,
// and LoadIndex, also turn to the later ones where an earlier one's copy is
// damaged.
func FirstOf(sources ...Packs) Packs {
	var all firstOf
	for _, p := range sources {
		if inner, ok := p.(firstOf); ok {
			all = append(all, inner...)
		} else {
			all = append(all, p)
		}
	}
	return all
}

type firstOf []Packs

func (f firstOf) ReadPack(ctx context.Context, d Digest, off int64, buf []byte) error {
	var err error = fs.ErrNotExist
	for _, p := range f {
		failed := p.ReadPack(ctx, d, off, buf)
		if failed == nil {
			return nil
		}
		if errors.Is(err, fs.ErrNotExist) { // what is wrong with a copy says more than that there is none
			err = failed
		}
		if ctx.Err() != nil {
			break
		}
	}
	return err
}

// elsewhere are where to turn to for a pack that packs gave damaged.
func elsewhere(ctx context.Context, packs Packs, d Digest) ([]Packs, error) {
	switch p := packs.(type) {
	case Mender:
		other, err := p.Mend(ctx, d)
		if err != nil {
			return nil, err
		}
		return []Packs{other}, nil
	case firstOf:
		return p[min(1, len(p)):], nil
	}
	return nil, nil
}
