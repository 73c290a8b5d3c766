package pack

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
)

// ErrClosed is the failure of a Writer that was closed or aborted.
var ErrClosed = errors.New("writer is closed")

// Writer writes the streams of one backup. It is safe for concurrent use;
// Close and Abort come after all else has returned.
type Writer struct {
	codec   *codec
	cutters [profiles]*cutter
	known   *Index
	usable  []bool        // by pack of known: not due for renewal
	live    []atomic.Bool // by pack of known: this backup refers to it
	due     func(Info) bool

	ctx    context.Context // of everything in the background; its cause is the first failure
	cancel context.CancelCauseFunc
	jobs   sync.WaitGroup
	helper chan struct{} // a token for each chunk that is worked on in the background
	bufs   sync.Pool     // of *[]byte, each with room for a chunk

	windows sync.Pool // of *[]byte, each of followWindow bytes

	data, meta, index *packer

	mu    sync.Mutex
	fresh map[shortID]struct{} // chunks new in this backup

	logical, created, chunks atomic.Int64
}

// NewWriter starts a backup's data. What it does in the background ends with
// ctx. Every Writer must be closed or aborted.
func NewWriter(ctx context.Context, cfg WriterConfig) (*Writer, error) {
	codec, err := newCodec(cfg.Cluster, cfg.Keys)
	if err != nil {
		return nil, err
	}
	w := &Writer{codec: codec, known: cfg.Known, due: cfg.Due, fresh: make(map[shortID]struct{})}
	if w.known == nil {
		w.known = &Index{}
	}
	if w.due == nil {
		w.due = func(Info) bool { return false }
	}
	w.usable = make([]bool, len(w.known.sections))
	w.live = make([]atomic.Bool, len(w.known.sections))
	for i, s := range w.known.sections {
		w.usable[i] = !s.missing && !w.due(s.Info)
	}
	for p := range w.cutters {
		w.cutters[p] = newCutter(Profile(p), codec.bounds[:])
	}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.helper = make(chan struct{}, runtime.GOMAXPROCS(0))
	w.bufs.New = func() any { b := make([]byte, 0, maxChunkSize+1<<10); return &b }
	w.windows.New = func() any { b := make([]byte, followWindow); return &b }
	w.startPackers(cfg)
	return w, nil
}

func (w *Writer) startPackers(cfg WriterConfig) {
	parallel := cfg.Parallel
	if parallel <= 0 {
		parallel = defaultParallel
	}
	random := cfg.Random
	if random == nil {
		random = rand.Reader
	}
	// Two more, which are being filled, so that filling never waits for itself.
	slots := make(chan []byte, parallel+2)
	for range cap(slots) {
		slots <- nil
	}
	random = &lockedReader{r: random}
	start := func(meta bool) *packer {
		return &packer{
			codec: w.codec, meta: meta, random: random, put: cfg.Put,
			slots: slots, fail: w.cancel, jobs: &w.jobs,
		}
	}
	w.data, w.meta, w.index = start(false), start(true), start(true)
}

// lockedReader lets packers share a source of randomness.
type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *lockedReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}

// Write chunks all that r yields and stores the chunks that are not known.
// Small inputs cost no goroutine and little memory, so it may be called for a
// million files; depth is 0 except for Metadata and Database streams too long
// to list in a manifest.
//
// An error of r is returned wrapped. A failure to store fails this or a later
// call, and Close.
func (w *Writer) Write(ctx context.Context, r io.Reader, p Profile) (Stream, error) {
	s, err := w.cutPlain(ctx, r, p)
	if err != nil {
		return Stream{}, err
	}
	w.logical.Add(s.Size)
	for p.nests() && len(s.Chunks) > maxList {
		list, err := w.cutPlain(ctx, &idReader{ids: s.Chunks}, Metadata)
		if err != nil {
			return Stream{}, err
		}
		s.Chunks, s.Depth = list.Chunks, s.Depth+1
	}
	return s, nil
}

// cutPlain writes one level of a stream.
func (w *Writer) cutPlain(ctx context.Context, r io.Reader, p Profile) (Stream, error) {
	cutter := w.cutters[p]
	chunker, err := cutter.open(r)
	if err != nil {
		return Stream{}, err
	}
	defer cutter.close(chunker)
	return w.cut(ctx, plain{w.codec, chunker}, p)
}

// cut writes chunks as they are cut.
func (w *Writer) cut(ctx context.Context, from cutting, p Profile) (Stream, error) {
	s := Stream{Chunks: []ID{}}
	for {
		if err := w.failed(ctx); err != nil {
			return s, err
		}
		id, chunk, last, err := from.next()
		if err != nil {
			return s, err
		}
		if len(chunk) > 0 {
			s.Chunks = append(s.Chunks, id)
			s.Size += int64(len(chunk))
			// The last chunk is left to the caller: what is small needs no help.
			if err := w.store(id, chunk, p, !last); err != nil {
				return s, err
			}
		}
		if last {
			return s, nil
		}
	}
}

// failed gives the reason not to go on.
func (w *Writer) failed(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	return nil
}
