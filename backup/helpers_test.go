package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/seal/sealtest"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

// value is a source whose state is some bytes, cut into files that are kept
// when they are the same as before.
type value struct {
	source.Restorer
	name  string
	state [][]byte
	old   [][]byte // as last dumped
	err   error
}

const day = 24 * time.Hour

func (v *value) Name() string                { return v.name }
func (v *value) Kind() string                { return "value" }
func (v *value) Check(context.Context) error { return nil }

func (v *value) Dump(ctx context.Context, w *pack.Writer, prev *source.Previous) (source.Entry, error) {
	if v.err != nil {
		return source.Entry{}, v.err
	}
	var before []pack.Stream
	if prev != nil {
		var err error
		if before, err = v.list(ctx, prev.Reader, prev.Entry); err != nil {
			return source.Entry{}, err
		}
	}
	var list bytes.Buffer
	for i, data := range v.state {
		if i < len(before) && i < len(v.old) && bytes.Equal(data, v.old[i]) && w.Keep(before[i]) {
			writeStream(&list, before[i])
			continue
		}
		s, err := w.Write(ctx, bytes.NewReader(data), pack.Files)
		if err != nil {
			return source.Entry{}, err
		}
		writeStream(&list, s)
	}
	v.old = append([][]byte(nil), v.state...)
	root, err := w.Write(ctx, &list, pack.Metadata)
	return source.Entry{Kind: v.Kind(), Name: v.name, Size: int64(len(bytes.Join(v.state, nil))), Root: root}, err
}

func writeStream(b *bytes.Buffer, s pack.Stream) {
	fmt.Fprintln(b, s.Size, len(s.Chunks))
	for _, id := range s.Chunks {
		fmt.Fprintln(b, id)
	}
}

func (v *value) list(ctx context.Context, r *pack.Reader, e source.Entry) (streams []pack.Stream, err error) {
	rc := r.Open(ctx, e.Root)
	defer rc.Close()
	text, err := io.ReadAll(rc)
	if err != nil {
		return nil, err
	}
	for in := bytes.NewBuffer(text); in.Len() > 0; {
		var s pack.Stream
		var n int
		if _, err := fmt.Fscanln(in, &s.Size, &n); err != nil {
			return nil, err
		}
		for range n {
			var word string
			if _, err := fmt.Fscanln(in, &word); err != nil {
				return nil, err
			}
			var id pack.ID
			if err := id.UnmarshalText([]byte(word)); err != nil {
				return nil, err
			}
			s.Chunks = append(s.Chunks, id)
		}
		streams = append(streams, s)
	}
	return streams, nil
}

// content reads back what a backup has of the source.
func (v *value) content(ctx context.Context, r *pack.Reader, e source.Entry) ([]byte, error) {
	streams, err := v.list(ctx, r, e)
	if err != nil {
		return nil, err
	}
	var all []byte
	for _, s := range streams {
		rc := r.Open(ctx, s)
		data, err := io.ReadAll(rc)
		_ = rc.Close()
		if err != nil {
			return nil, err
		}
		all = append(all, data...)
	}
	return all, nil
}

// counting counts the requests of each kind to keys of each folder, and lets a
// test come before each.
type counting struct {
	*storetest.Memory
	mu     sync.Mutex
	counts map[string]int
	before func(op, key string) error
	after  func(op, key string) error
}

func (c *counting) count(op, key string) error {
	c.mu.Lock()
	folder, _, _ := strings.Cut(key, "/")
	c.counts[op+" "+folder]++
	c.mu.Unlock()
	if c.before != nil {
		return c.before(op, key)
	}
	return nil
}

func (c *counting) Get(ctx context.Context, key string, o blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	if err := c.count("get", key); err != nil {
		return nil, blobstore.Attrs{}, err
	}
	return c.Memory.Get(ctx, key, o)
}

func (c *counting) Stat(ctx context.Context, key string) (blobstore.Attrs, error) {
	if err := c.count("stat", key); err != nil {
		return blobstore.Attrs{}, err
	}
	return c.Memory.Stat(ctx, key)
}

func (c *counting) Put(ctx context.Context, key string, body []byte, cond blobstore.Condition) (blobstore.Attrs, error) {
	if err := c.count("put", key); err != nil {
		return blobstore.Attrs{}, err
	}
	attrs, err := c.Memory.Put(ctx, key, body, cond)
	if err == nil && c.after != nil {
		err = c.after("put", key)
	}
	return attrs, err
}

// folder is local packs in memory.
type folder struct {
	mu    sync.Mutex
	packs map[pack.Digest][]byte
	full  bool
}

var errFull = errors.New("no space left on device")

func (f *folder) PutPack(_ context.Context, d pack.Digest, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full {
		return errFull
	}
	f.packs[d] = bytes.Clone(data)
	return nil
}

func (f *folder) ReadPack(_ context.Context, d pack.Digest, off int64, buf []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	data, ok := f.packs[d]
	if !ok {
		return fs.ErrNotExist
	}
	copy(buf, data[off:])
	return nil
}

// world is a cluster's bucket, its clock, and one instance that backs up.
type world struct {
	t     testing.TB
	now   time.Time
	store *counting
	repo  *Repository
	keys  seal.DataKeys
	local *folder
	app   *value
	logs  *bytes.Buffer

	ref      *Ref
	manifest *Manifest
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		local: &folder{packs: make(map[pack.Digest][]byte)},
		app:   &value{name: "app"}, logs: new(bytes.Buffer),
	}
	w.store = &counting{Memory: storetest.NewMemory(), counts: make(map[string]int)}
	w.store.Now = func() time.Time { return w.now }
	random := rand.NewChaCha8([32]byte{1})
	ring := sealtest.NewRing(t, random)
	var err error
	if w.keys, err = seal.NewDataKeys(random); err != nil {
		t.Fatal(err)
	}
	w.repo = &Repository{Store: w.store, Ring: ring, Cluster: "c-1"}
	return w
}

// order is the next backup of the epoch.
func (w *world) order() Order {
	o := Order{
		Epoch: 1, Sequence: 1, Previous: w.ref, PreviousManifest: w.manifest,
		Trigger: Scheduled, Instance: "host-a", Version: "1.0", AppVersion: "7",
		Keys: w.keys, Sources: []source.Source{w.app}, Local: w.local,
		Now: func() time.Time { return w.now }, Log: slog.New(slog.NewTextHandler(w.logs, nil)),
	}
	if w.ref != nil {
		o.Epoch, o.Sequence = w.ref.Epoch, w.ref.Sequence+1
	}
	return o
}

// write makes the next backup, and forgets the requests before it.
func (w *world) write(change ...func(*Order)) (Ref, *Manifest) {
	w.t.Helper()
	ref, m, err := w.try(change...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.ref, w.manifest = &ref, m
	return ref, m
}

func (w *world) try(change ...func(*Order)) (Ref, *Manifest, error) {
	o := w.order()
	for _, c := range change {
		c(&o)
	}
	w.store.counts = make(map[string]int)
	return w.repo.Write(w.t.Context(), o)
}

// check reads a backup back and compares it.
func (w *world) check(ref Ref, want []byte) {
	w.t.Helper()
	if err := w.readable(ref, want); err != nil {
		w.t.Fatal(err)
	}
}

var errDiffers = errors.New("the content differs")

func (w *world) readable(ref Ref, want []byte) error {
	m, err := w.repo.Load(w.t.Context(), ref)
	if err != nil {
		return err
	}
	r, _, err := w.repo.Open(w.t.Context(), m, w.repo.BucketPacks())
	if err != nil {
		return err
	}
	got, err := w.app.content(w.t.Context(), r, m.Sources[0])
	if err == nil && !bytes.Equal(got, want) {
		err = errDiffers
	}
	return err
}

func (w *world) content() []byte { return bytes.Join(w.app.state, nil) }

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	var s [32]byte
	s[0], s[1], s[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	_, _ = rand.NewChaCha8(s).Read(b)
	return b
}
