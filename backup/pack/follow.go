package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
)

// leastTail is the size, in bytes, from which on the last chunk of a file stays as it
// is when something is added to the file: what is added begins another one. A smaller
// one is stored again with what was added, so that a log that grows by lines does not
// become a chunk a line.
const leastTail = 16 << 10

// WriteOver is Write of what was kept as old before and may have changed since. Where a
// chunk of old is still in its place it stays one, found by its id alone, and what is
// between two of them ends where the second one begins; elsewhere the boundaries are
// those of Write. So what is added at the end is a chunk of its own, and
// not stored again together with all the bytes since the last boundary before it.
func (w *Writer) WriteOver(ctx context.Context, r io.Reader, p Profile, old Stream) (Stream, error) {
	if old.Depth != 0 || p.nests() {
		return w.Write(ctx, r, p)
	}
	buf := w.windows.Get().(*[]byte)
	defer w.windows.Put(buf)
	f := &following{codec: w.codec, known: w.known, cutter: w.cutters[p], r: r, buf: *buf, old: old.Chunks}
	defer f.close()
	s, err := w.cut(ctx, f, p)
	if err == nil {
		w.logical.Add(s.Size)
	}
	return s, err
}

// cutting cuts a stream into chunks. last comes with the last one, which may be empty.
// A chunk is good until the next call.
type cutting interface {
	next() (id ID, chunk []byte, last bool, err error)
}

// plain cuts a stream by its content alone.
type plain struct {
	codec   *codec
	chunker *chunkers.Chunker
}

func (c plain) next() (id ID, chunk []byte, last bool, err error) {
	chunk, err = c.chunker.Next()
	if last = errors.Is(err, io.EOF); err != nil && !last {
		return id, nil, false, fmt.Errorf("read: %w", err)
	}
	if len(chunk) > 0 {
		id = c.codec.id(chunk)
	}
	return id, chunk, last, nil
}

// following cuts a stream as an earlier version of it was cut, where it has not changed.
type following struct {
	codec   *codec
	known   *Index
	cutter  *cutter
	chunker *chunkers.Chunker // nil: nothing had to be cut yet

	r     io.Reader
	ended bool   // of r
	buf   []byte // room for what is read ahead
	ahead []byte // what was read and not yet cut, in buf
	at    int64  // where in the stream ahead begins

	old   []ID  // chunks of the earlier version from oldAt on
	oldAt int64 // where in that the first of them begins
}

func (f *following) next() (ID, []byte, bool, error) {
	if err := f.fill(); err != nil {
		return ID{}, nil, false, fmt.Errorf("read: %w", err)
	}
	id, size := f.unchanged()
	if size == 0 && len(f.ahead) > 0 {
		var err error
		if size, err = f.boundary(); err != nil {
			return id, nil, false, err
		}
		id = f.codec.id(f.ahead[:size])
	}
	chunk := f.ahead[:size]
	f.ahead = f.ahead[size:]
	f.at += int64(size)
	return id, chunk, f.ended && len(f.ahead) == 0, nil
}

// followWindow is how much is read ahead, in bytes.
const followWindow = 4 * maxChunkSize

// fill reads until there are two chunks ahead, or the rest.
func (f *following) fill() error {
	if f.ended || len(f.ahead) >= 2*maxChunkSize {
		return nil
	}
	n := copy(f.buf, f.ahead)
	for n < len(f.buf) && !f.ended {
		k, err := f.r.Read(f.buf[n:])
		n += k
		if f.ended = errors.Is(err, io.EOF); err != nil && !f.ended {
			return err
		}
	}
	f.ahead = f.buf[:n]
	return nil
}

// unchanged finds the chunk of the earlier version that begins here, if it is still
// there; its size is 0 otherwise.
func (f *following) unchanged() (ID, int) {
	for len(f.old) > 0 && f.oldAt <= f.at {
		size := f.oldSize(0)
		if size == 0 {
			break
		}
		id := f.old[0]
		here, last := f.oldAt == f.at, len(f.old) == 1
		f.old, f.oldAt = f.old[1:], f.oldAt+int64(size)
		if here && !(last && size < leastTail && size < len(f.ahead)) && f.is(id, f.ahead, size) {
			return id, size
		}
	}
	return ID{}, 0
}

// oldSize is the size of one of the chunks that are to come of the earlier version; 0
// if it is not known, and then neither is where those behind it begin.
func (f *following) oldSize(n int) int {
	_, r, ok := f.known.find(f.old[n])
	if !ok {
		f.old = f.old[:n]
		return 0
	}
	return int(r.size)
}

// is reports whether data begins with a chunk.
func (f *following) is(id ID, data []byte, size int) bool {
	return size <= len(data) && f.codec.id(data[:size]) == id
}

// boundary is where a chunk ends that is new: where the content says so, or before that,
// where a chunk of the earlier version is still in its place.
func (f *following) boundary() (int, error) {
	if f.chunker == nil {
		var err error
		if f.chunker, err = f.cutter.open(nothing{}); err != nil {
			return 0, err
		}
	}
	f.chunker.Reset(bytes.NewReader(f.ahead[:min(len(f.ahead), maxChunkSize)]))
	chunk, err := f.chunker.Next()
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("find a boundary: %w", err)
	}
	at := int(f.oldAt - f.at)
	for n := 0; n < len(f.old) && at < len(chunk); n++ {
		size := f.oldSize(n)
		if size == 0 {
			break
		}
		if f.is(f.old[n], f.ahead[at:], size) {
			return at, nil
		}
		at += size
	}
	return len(chunk), nil
}

func (f *following) close() {
	if f.chunker != nil {
		f.cutter.close(f.chunker)
	}
}
