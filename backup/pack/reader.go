package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/understudy-ha/understudy/backup/seal"
)

// Reader reads the streams of one backup, verifying every chunk against its
// id. It is safe for concurrent use. Packs are read in parts of about 2 MiB, of
// which the last used stay in memory, so that many small streams that were
// written together cost few requests.
type Reader struct {
	codec   *codec
	err     error // of setting up
	index   *Index
	extents *extents
	bufs    sync.Pool // of *[]byte, each with room for a chunk
	ahead   int       // chunks of a stream that are made ready ahead of its reader
	inline  bool      // they are made ready by the reader itself
}

// NewReader reads streams through an index.
func NewReader(cluster string, keys seal.DataKeys, index *Index, packs Packs) *Reader {
	r := &Reader{index: index, ahead: min(2*runtime.GOMAXPROCS(0), 8)}
	r.bufs.New = func() any { b := make([]byte, 0, maxChunkSize); return &b }
	r.codec, r.err = newCodec(cluster, keys)
	r.extents = newExtents(r.codec, index, packs)
	return r
}

// Inline gives a Reader of the same backup that decrypts and expands chunks in
// the goroutine that reads a stream: for one that is to take few resources.
func (r *Reader) Inline() *Reader {
	q := &Reader{codec: r.codec, err: r.err, index: r.index, extents: r.extents, ahead: 1, inline: true}
	q.bufs.New = r.bufs.New
	return q
}

// Open reads a stream from its start, fetching ahead a little. What it gives
// also is an io.WriterTo, which io.Copy uses: chunks go to the writer as they
// are. Errors name the pack that is missing (fs.ErrNotExist) or damaged
// (ErrCorrupt); then what was read before is still right.
//
// Requests for packs are made with ctx and may outlast the stream by a moment.
func (r *Reader) Open(ctx context.Context, s Stream) io.ReadCloser {
	if s.Size < 0 || s.Depth < 0 || s.Depth > maxDepth {
		sr := r.open(ctx, Stream{})
		sr.err = fmt.Errorf("%w: a stream of %d bytes in %d levels: restore another backup", ErrCorrupt, s.Size, s.Depth)
		return sr
	}
	return r.open(ctx, s)
}

// open is Open. A stream of lists has a size that is not known, -1.
func (r *Reader) open(ctx context.Context, s Stream) *streamReader {
	sr := &streamReader{r: r, base: ctx, left: s.Size, err: r.err}
	if s.Depth > 0 {
		ids := r.open(ctx, Stream{Size: -1, Depth: s.Depth - 1, Chunks: s.Chunks})
		sr.ids = &idStream{src: ids}
	} else {
		sr.ids = &idList{ids: s.Chunks}
	}
	sr.single = s.Depth == 0 && len(s.Chunks) <= 1
	sr.wait, sr.cancel = ctx, func() {}
	if !sr.single {
		sr.wait, sr.cancel = context.WithCancel(ctx)
	}
	return sr
}

// chunk reads one chunk into dst's room.
func (r *Reader) chunk(wait, base context.Context, id ID, dst []byte) ([]byte, error) {
	i, rec, ok := r.index.find(id)
	if !ok {
		return nil, fmt.Errorf("%w: the backup's index lacks chunk %s: restore another backup", ErrCorrupt, id)
	}
	e, err := r.extents.get(wait, base, placeOf(i, rec))
	if err != nil {
		return nil, err
	}
	scratch := r.bufs.Get().(*[]byte)
	defer r.bufs.Put(scratch)
	d := r.index.sections[i].Digest
	return r.codec.openFrom(wait, r.extents.packs, d, e.aead, rec, e.frame(rec), dst, *scratch)
}

// streamReader reads one stream. Several chunks are made ready at a time; they
// are handed out in order.
type streamReader struct {
	r          *Reader
	base, wait context.Context // of requests; of this stream
	cancel     context.CancelFunc
	ids        idSource
	single     bool  // one chunk at most: read without a goroutine
	left       int64 // bytes that are to come; negative when not known
	queue      []*pending
	ended      bool // no more ids
	buf        *[]byte
	rest       []byte // of the chunk being handed out, in buf
	err        error
}

// pending is a chunk that is being made ready.
type pending struct {
	ready chan struct{}
	buf   *[]byte
	data  []byte
	err   error
}

// Read implements io.Reader.
func (s *streamReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := s.fill(); err != nil {
		return 0, err
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// WriteTo implements io.WriterTo.
func (s *streamReader) WriteTo(w io.Writer) (n int64, err error) {
	for {
		if err := s.fill(); errors.Is(err, io.EOF) {
			return n, nil
		} else if err != nil {
			return n, err
		}
		k, err := w.Write(s.rest)
		n += int64(k)
		s.rest = s.rest[k:]
		if err != nil {
			return n, err
		}
	}
}

// Close stops reading ahead. It never fails.
func (s *streamReader) Close() error {
	s.cancel()
	for _, p := range s.queue {
		<-p.ready
		s.release(p.buf)
	}
	s.release(s.buf)
	s.queue, s.buf, s.rest = nil, nil, nil
	s.ids.close()
	if s.err == nil {
		s.err = io.ErrClosedPipe
	}
	return nil
}

func (s *streamReader) release(buf *[]byte) {
	if buf != nil {
		s.r.bufs.Put(buf)
	}
}

// fill makes rest hold something, or fails; io.EOF at the stream's end.
func (s *streamReader) fill() error {
	for len(s.rest) == 0 && s.err == nil {
		s.err = s.advance()
	}
	if len(s.rest) > 0 {
		return nil
	}
	return s.err
}

// advance takes the next chunk.
func (s *streamReader) advance() error {
	s.release(s.buf)
	s.buf = nil
	s.order()
	if len(s.queue) == 0 {
		if s.left > 0 {
			return fmt.Errorf("%w: a stream ends %d bytes early: restore another backup", ErrCorrupt, s.left)
		}
		return io.EOF
	}
	p := s.queue[0]
	s.queue = s.queue[1:]
	<-p.ready
	s.buf = p.buf
	if p.err != nil {
		return p.err
	}
	if s.left >= 0 {
		if s.left -= int64(len(p.data)); s.left < 0 {
			return fmt.Errorf("%w: a stream goes on beyond its end: restore another backup", ErrCorrupt)
		}
	}
	s.rest = p.data
	return nil
}

// order has the next chunks made ready.
func (s *streamReader) order() {
	for !s.ended && len(s.queue) < s.r.ahead {
		id, err := s.ids.next()
		if errors.Is(err, io.EOF) {
			s.ended = true
			return
		}
		p := &pending{ready: make(chan struct{}), buf: s.r.bufs.Get().(*[]byte), err: err}
		s.queue = append(s.queue, p)
		switch {
		case err != nil: // its turn comes after the chunks before it
			s.ended = true
			close(p.ready)
		case s.single, s.r.inline:
			s.prepare(p, id)
		default:
			go s.prepare(p, id)
		}
	}
}

func (s *streamReader) prepare(p *pending, id ID) {
	defer close(p.ready)
	p.data, p.err = s.r.chunk(s.wait, s.base, id, *p.buf)
}

// idSource yields the ids of a stream's chunks, then io.EOF.
type idSource interface {
	next() (ID, error)
	close()
}

type idList struct{ ids []ID }

func (l *idList) next() (ID, error) {
	if len(l.ids) == 0 {
		return ID{}, io.EOF
	}
	id := l.ids[0]
	l.ids = l.ids[1:]
	return id, nil
}

func (l *idList) close() {}

// idStream reads ids from a stream of them, so that the list of a large stream
// is never in memory whole.
type idStream struct{ src io.ReadCloser }

func (l *idStream) next() (id ID, err error) {
	_, err = io.ReadFull(l.src, id[:])
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: a list of chunks ends within an id: restore another backup", ErrCorrupt)
	}
	return id, err
}

func (l *idStream) close() { _ = l.src.Close() } // never fails
