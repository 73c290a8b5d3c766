package pack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/seal"
)

// bucket is packs in memory, with a clock.
type bucket struct {
	mu    sync.Mutex
	packs map[Digest][]byte
	infos map[Digest]Info
	now   time.Time
	puts  int
	gets  int
	fail  func(Info) error
}

func newBucket() *bucket {
	return &bucket{
		packs: make(map[Digest][]byte), infos: make(map[Digest]Info),
		now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	}
}

func (b *bucket) put(_ context.Context, info Info, data []byte) (time.Time, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		if err := b.fail(info); err != nil {
			return time.Time{}, err
		}
	}
	b.puts++
	info.Time = b.now
	b.packs[info.Digest] = bytes.Clone(data)
	b.infos[info.Digest] = info
	return b.now, nil
}

func (b *bucket) ReadPack(ctx context.Context, d Digest, off int64, buf []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gets++
	data, ok := b.packs[d]
	if !ok {
		return fmt.Errorf("get %s: %w", d.Key(), fs.ErrNotExist)
	}
	if off > int64(len(data)) || copy(buf, data[off:]) < len(buf) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// counts gives the packs put and the reads made since the last call.
func (b *bucket) counts() (puts, gets int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	puts, gets = b.puts, b.gets
	b.puts, b.gets = 0, 0
	return puts, gets
}

const testCluster = "c-1"

func testKeys() seal.DataKeys {
	keys, err := seal.NewDataKeys(rand.NewChaCha8([32]byte{1}))
	if err != nil {
		panic(err)
	}
	return keys
}

// session is a Writer for tests.
type session struct {
	*Writer
	t testing.TB
	b *bucket
}

func begin(tb testing.TB, b *bucket, known *Index, change ...func(*WriterConfig)) *session {
	tb.Helper()
	cfg := WriterConfig{Cluster: testCluster, Keys: testKeys(), Known: known, Put: b.put}
	for _, c := range change {
		c(&cfg)
	}
	w, err := NewWriter(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return &session{Writer: w, t: tb, b: b}
}

func (s *session) write(data []byte, p Profile) Stream {
	s.t.Helper()
	st, err := s.Write(s.t.Context(), bytes.NewReader(data), p)
	if err != nil {
		s.t.Fatal(err)
	}
	if st.Size != int64(len(data)) {
		s.t.Fatalf("stream of %d bytes instead of %d", st.Size, len(data))
	}
	return st
}

// end closes the Writer and loads its index.
func (s *session) end() (*Index, IndexRef, Stats) {
	s.t.Helper()
	ref, stats, err := s.Close(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	x, err := LoadIndex(s.t.Context(), testCluster, testKeys(), s.b, ref)
	if err != nil {
		s.t.Fatal(err)
	}
	return x, ref, stats
}

func read(tb testing.TB, b Packs, x *Index, s Stream) ([]byte, error) {
	tb.Helper()
	rc := NewReader(testCluster, testKeys(), x, b).Open(tb.Context(), s)
	defer rc.Close()
	return io.ReadAll(struct{ io.Reader }{rc})
}

func mustRead(tb testing.TB, b Packs, x *Index, s Stream, want []byte) {
	tb.Helper()
	got, err := read(tb, b, x, s)
	if err != nil {
		tb.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		tb.Fatalf("read %d bytes that differ from the %d written", len(got), len(want))
	}
}

// noise is data that does not compress.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	var s [32]byte
	s[0], s[1], s[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	_, _ = rand.NewChaCha8(s).Read(b)
	return b
}

// prose is data that compresses about as logs and rows do.
func prose(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%d\tuser-%d\t2026-03-%02d\t%s\t%x\n", b.Len(), r.IntN(10000), r.IntN(28)+1,
			[]string{"paid", "open", "cancelled"}[r.IntN(3)], r.Uint32())
	}
	return b.Bytes()[:n]
}
