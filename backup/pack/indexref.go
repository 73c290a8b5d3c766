package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-ha/understudy/backup/seal"
)

// maxIndexSize bounds the memory that reading an index takes, in bytes.
const maxIndexSize = 8 << 30

// maxLocated is how many chunks an IndexRef lists.
const maxLocated = 48

// IndexRef locates a backup's index without an index: it stands in the
// manifest. With Depth 0, the chunks are the index in order; with Depth 1, they
// are a list of the chunks that are the index; and so on.
type IndexRef struct {
	Size   int64        `json:"size"` // of the index, in bytes
	Depth  int          `json:"depth,omitempty"`
	Packs  []IndexPack  `json:"packs"`
	Chunks []IndexChunk `json:"chunks"`
}

// IndexPack is a pack that holds chunks of an index.
type IndexPack struct {
	Digest Digest    `json:"digest"`
	Salt   Salt      `json:"salt"`
	Size   int64     `json:"size"`
	Time   time.Time `json:"time"` // by the store's clock
}

// IndexChunk is a chunk of an index.
type IndexChunk struct {
	ID     ID     `json:"id"`
	Pack   int    `json:"pack"`   // position in Packs
	Offset uint32 `json:"offset"` // of the frame in the pack
	Length uint32 `json:"length"` // of the frame
	Size   uint32 `json:"size"`   // of the chunk
	Raw    bool   `json:"raw,omitempty"`
}

// newIndexRef lists located chunks.
func newIndexRef(size int64, depth int, chunks []located) IndexRef {
	ref := IndexRef{Size: size, Depth: depth, Packs: []IndexPack{}, Chunks: []IndexChunk{}}
	place := make(map[Digest]int)
	for _, l := range chunks {
		at, ok := place[l.Digest]
		if !ok {
			at = len(ref.Packs)
			place[l.Digest] = at
			ref.Packs = append(ref.Packs, IndexPack{Digest: l.Digest, Salt: l.salt, Size: l.Size, Time: l.Time})
		}
		ref.Chunks = append(ref.Chunks, IndexChunk{
			ID: l.id, Pack: at, Offset: l.offset, Length: l.length, Size: l.size, Raw: l.raw,
		})
	}
	return ref
}

// located lists the chunks of the reference with their packs.
func (ref IndexRef) located() ([]located, error) {
	list := make([]located, 0, len(ref.Chunks))
	for _, c := range ref.Chunks {
		if c.Pack < 0 || c.Pack >= len(ref.Packs) {
			return nil, fmt.Errorf("%w: chunk %s is in pack %d of %d", ErrCorrupt, c.ID, c.Pack, len(ref.Packs))
		}
		p := ref.Packs[c.Pack]
		l := located{
			packHead: packHead{Info: Info{Digest: p.Digest, Size: p.Size, Time: p.Time, Meta: true}, salt: p.Salt},
			record:   record{id: c.ID, offset: c.Offset, length: c.Length, size: c.Size, raw: c.Raw},
		}
		if err := l.check(); err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	return list, nil
}

// LoadIndex reads an index. A missing pack is an error that wraps
// fs.ErrNotExist, a damaged one wraps ErrCorrupt; both name the pack.
func LoadIndex(ctx context.Context, cluster string, keys seal.DataKeys, packs Packs, ref IndexRef) (*Index, error) {
	c, err := newCodec(cluster, keys)
	if err != nil {
		return nil, err
	}
	x, err := loadIndex(ctx, c, packs, ref)
	if err != nil {
		return nil, fmt.Errorf("read the backup's index: %w", err)
	}
	return x, nil
}

func loadIndex(ctx context.Context, c *codec, packs Packs, ref IndexRef) (*Index, error) {
	if ref.Depth < 0 || ref.Depth > maxDepth {
		return nil, fmt.Errorf("%w: it has %d levels", ErrCorrupt, ref.Depth)
	}
	level, err := ref.located()
	if err != nil {
		return nil, err
	}
	own := slices.Clone(level)
	for range ref.Depth {
		list, err := readLocated(ctx, c, packs, level)
		if err != nil {
			return nil, err
		}
		if level, err = parseLocated(list); err != nil {
			return nil, err
		}
		own = append(own, level...)
	}
	raw, err := readLocated(ctx, c, packs, level)
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) != ref.Size {
		return nil, fmt.Errorf("%w: it has %d bytes instead of %d", ErrCorrupt, len(raw), ref.Size)
	}
	return parseIndex(ref, own, raw)
}

// parseLocated reads what appendLocated wrote.
func parseLocated(b []byte) ([]located, error) {
	if len(b)%locatedSize != 0 {
		return nil, fmt.Errorf("%w: a list of its chunks has %d bytes", ErrCorrupt, len(b))
	}
	list := make([]located, 0, len(b)/locatedSize)
	for ; len(b) > 0; b = b[locatedSize:] {
		head, _ := readHead(b)
		l := located{packHead: head, record: readRecord(b[sectionSize:])}
		if err := l.check(); err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	return list, nil
}

// readLocated reads chunks, neighbours in one request, several at a time.
func readLocated(ctx context.Context, c *codec, packs Packs, chunks []located) ([]byte, error) {
	total := 0
	for _, l := range chunks {
		if total += int(l.size); total > maxIndexSize {
			return nil, fmt.Errorf("%w: it is larger than %d bytes", ErrCorrupt, int64(maxIndexSize))
		}
	}
	out := make([]byte, total)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for at := 0; len(chunks) > 0; {
		n, size := run(chunks)
		part, dst := chunks[:n], out[at:at+size]
		chunks, at = chunks[n:], at+size
		group.Go(func() error { return readRun(ctx, c, packs, part, dst) })
	}
	return out, group.Wait()
}

// run says how many chunks can be read at once, and the bytes in them.
func run(chunks []located) (n, size int) {
	const most = 4 << 20
	for n < len(chunks) && size < most {
		if n > 0 && (chunks[n].Digest != chunks[n-1].Digest || chunks[n].offset != chunks[n-1].end()) {
			break
		}
		size += int(chunks[n].size)
		n++
	}
	return n, size
}

// readRun reads chunks that are neighbours in one pack into dst.
func readRun(ctx context.Context, c *codec, packs Packs, chunks []located, dst []byte) error {
	first, last := chunks[0], chunks[len(chunks)-1]
	aead, err := c.aead(first.salt)
	if err != nil {
		return err
	}
	frames := make([]byte, last.end()-first.offset)
	if err := packs.ReadPack(ctx, first.Digest, int64(first.offset), frames); err != nil {
		return packError(first.Digest, err)
	}
	scratch := make([]byte, 0, maxChunkSize)
	for _, l := range chunks {
		frame := frames[l.offset-first.offset:][:l.length]
		plain, err := c.openFrom(ctx, packs, l.Digest, aead, l.record, frame, dst[:0:l.size], scratch)
		if err != nil {
			return err
		}
		dst = dst[copy(dst, plain):]
	}
	return nil
}

// packError says in people's words what is wrong with a pack, and what to do.
func packError(d Digest, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read %s: it is missing: restore an instance's cached copy of this backup, or another backup: %w", d.Key(), err)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return packError(d, fmt.Errorf("%w: it is too short", ErrCorrupt))
	case errors.Is(err, ErrCorrupt):
		return fmt.Errorf("read %s: %w: restore another backup, or put a sound copy of this object in its place", d.Key(), err)
	default:
		return fmt.Errorf("read %s: %w", d.Key(), err)
	}
}
