package pack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/s3store"
	"github.com/understudy-ha/understudy/e2e/server"
)

// limits is what a first backup consists of, made ready so that each part can be run by
// itself. Every part does what it does for the same state; what comes after the
// compression has fewer bytes to work on.
type limits struct {
	tb     testing.TB
	codec  *codec
	file   string
	state  []byte
	chunks [][]byte
	frames [][]byte // chunks, as they are sealed
	packs  [][]byte
	names  [][sha256.Size]byte // of packs
	store  blobstore.Store
	puts   int
}

// mixedState is about two fifths noise, and log lines.
func mixedState(size int) (state []byte) {
	for i := 0; len(state) < size; i++ {
		state = append(state, noise(uint64(i), 400<<10)...)
		state = append(state, prose(uint64(i), 600<<10)...)
	}
	return state[:size]
}

func newLimits(b *testing.B, m *server.MinIOServer) *limits {
	b.Helper()
	l := &limits{tb: b, state: mixedState(64 << 20), file: filepath.Join(b.TempDir(), "state")}
	l.must(os.WriteFile(l.file, l.state, 0o600))
	var err error
	l.codec, err = newCodec(testCluster, testKeys())
	l.must(err)
	m.Setenv(b)
	l.store, err = blobstore.Mux{s3store.Scheme: s3store.Open}.Open(b.Context(), m.NewBucket(b))
	l.must(err)
	l.must(l.cut(func(chunk []byte) { l.chunks = append(l.chunks, append([]byte(nil), chunk...)) }))
	var whole []byte
	for _, chunk := range l.chunks {
		data, _ := l.codec.compress(chunk, nil)
		l.frames = append(l.frames, data)
		whole = append(whole, data...)
	}
	for len(whole) > 0 {
		n := min(len(whole), packTarget)
		l.packs, l.names, whole = append(l.packs, whole[:n]), append(l.names, sha256.Sum256(whole[:n])), whole[n:]
	}
	return l
}

func (l *limits) must(err error) {
	l.tb.Helper()
	if err != nil {
		l.tb.Fatal(err)
	}
}

// cut reads the state from memory in chunks.
func (l *limits) cut(each func([]byte)) error {
	cutter := newCutter(Files, l.codec.bounds[:])
	chunker, err := cutter.open(bytes.NewReader(l.state))
	if err != nil {
		return err
	}
	for {
		chunk, err := chunker.Next()
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			return err
		}
		if each(chunk); last {
			return nil
		}
	}
}

// parts are the parts of a first backup, in their order.
func (l *limits) parts() []part {
	return []part{
		{"read", func(context.Context) error {
			f, err := os.Open(l.file)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 2*maxChunkSize))
			return err
		}},
		{"chunk", func(context.Context) error { return l.cut(func([]byte) {}) }},
		{"hash", func(context.Context) error {
			for _, chunk := range l.chunks {
				l.codec.id(chunk)
			}
			return nil
		}},
		{"compress", func(context.Context) error {
			scratch := make([]byte, 0, maxChunkSize+1<<10)
			for _, chunk := range l.chunks {
				l.codec.compress(chunk, scratch)
			}
			return nil
		}},
		{"encrypt", func(context.Context) error {
			aead, err := l.codec.aead(Salt{})
			sealed := make([]byte, 0, maxChunkSize+tagSize)
			for i, frame := range l.frames {
				if err == nil {
					aead.Seal(sealed, nonce(uint32(i)), frame, l.codec.context[frameZstd])
				}
			}
			return err
		}},
		{"name", func(context.Context) error {
			for _, pack := range l.packs {
				sha256.Sum256(pack)
			}
			return nil
		}},
		{"upload", l.upload},
	}
}

// upload writes the packs to MinIO, signed with hashes that are known, as names are.
func (l *limits) upload(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(defaultParallel)
	for i, pack := range l.packs {
		l.puts++
		key, cond := "packs/"+strconv.Itoa(l.puts), blobstore.Always.Hashed(l.names[i])
		group.Go(func() error {
			_, err := l.store.Put(ctx, key, pack, cond)
			return err
		})
	}
	return group.Wait()
}

type part struct {
	name string
	do   func(context.Context) error
}

// BenchmarkLimit runs the parts of a first backup each alone, and each with every other
// one at the same time, which shows what they take from each other. Of upload, cpu-ns/B
// is without the server's.
func BenchmarkLimit(b *testing.B) {
	l := newLimits(b, server.MinIO(b))
	run := func(name string, parts ...part) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(l.state)))
			defer cpu(b, len(l.state))()
			for b.Loop() {
				group, ctx := errgroup.WithContext(b.Context())
				for _, p := range parts {
					group.Go(func() error { return p.do(ctx) })
				}
				if err := group.Wait(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	all := l.parts()
	for i, first := range all {
		run(first.name, first)
		for _, second := range all[i+1:] {
			run(fmt.Sprintf("%s+%s", first.name, second.name), first, second)
		}
	}
}
