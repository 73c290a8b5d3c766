package pack

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/understudy-ha/understudy/backup/seal"
)

// damaged writes one small backup and gives what is needed to spoil it.
func damaged(t *testing.T) (*bucket, *Index, IndexRef, Stream) {
	t.Helper()
	b := newBucket()
	w := begin(t, b, nil)
	s := w.write(noise(1, 200), Files)
	x, ref, _ := w.end()
	return b, x, ref, s
}

func TestAChangedByteAnywhereIsRefused(t *testing.T) {
	b, x, ref, s := damaged(t)
	data, index := x.sections[0], x.own[0]
	for d, sound := range b.packs {
		for i := range sound {
			spoilt := bytes.Clone(sound)
			spoilt[i] ^= 1
			if err := Contents(testCluster, testKeys(), spoilt, nop); err == nil {
				t.Errorf("byte %d of %d: the pack's contents were read", i, len(sound))
			}
			b.packs[d] = spoilt
			switch r := x.record(data, 0); {
			case d == index.Digest && i >= int(index.offset) && i < int(index.end()):
				_, err := LoadIndex(t.Context(), testCluster, testKeys(), b, ref)
				mustName(t, err, ErrCorrupt, d)
			case d == data.Digest && i >= int(r.offset) && i < int(r.end()):
				_, err := read(t, b, x, s)
				mustName(t, err, ErrCorrupt, d)
			}
		}
		b.packs[d] = sound
	}
}

func nop(ID, []byte) error { return nil }

// mustName checks that an error is of a kind and says which object it is about
// and what to do.
func mustName(t *testing.T, err, kind error, d Digest) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), d.Key()) || !strings.Contains(err.Error(), "restore") {
		t.Fatalf("the error should name %s: %v", d.Key(), err)
	}
}

func TestATruncatedOrMissingPackIsNamed(t *testing.T) {
	b, x, ref, s := damaged(t)
	data, index := x.sections[0].Digest, x.own[0].Digest
	for _, d := range []Digest{data, index} {
		try := func() error {
			if d == data {
				_, err := read(t, b, x, s)
				return err
			}
			_, err := LoadIndex(t.Context(), testCluster, testKeys(), b, ref)
			return err
		}
		sound := b.packs[d]
		b.packs[d] = sound[:len(sound)/4]
		mustName(t, try(), ErrCorrupt, d)
		delete(b.packs, d)
		mustName(t, try(), fs.ErrNotExist, d)
		b.packs[d] = sound
		if err := try(); err != nil {
			t.Error(err)
		}
	}
}

func TestADamagedCopyIsPassedOver(t *testing.T) {
	b, x, ref, s := damaged(t)
	near := newBucket()
	for d, sound := range b.packs {
		near.packs[d] = bytes.Repeat([]byte{7}, len(sound))
	}
	packs := FirstOf(newBucket(), near, b)
	if _, err := LoadIndex(t.Context(), testCluster, testKeys(), packs, ref); err != nil {
		t.Error(err)
	}
	mustRead(t, packs, x, s, noise(1, 200))
	_, err := read(t, FirstOf(near, newBucket()), x, s)
	mustName(t, err, ErrCorrupt, x.sections[0].Digest)
}

func TestAPackOfAnotherClusterOrKeyIsRefused(t *testing.T) {
	b, x, ref, s := damaged(t)
	other := testKeys()
	other.Encrypt[0] ^= 1
	chunk := testKeys()
	chunk.Chunk[0] ^= 1
	for _, c := range []struct {
		cluster string
		keys    seal.DataKeys
	}{{"c-2", testKeys()}, {testCluster, other}, {testCluster, chunk}} {
		if _, err := LoadIndex(t.Context(), c.cluster, c.keys, b, ref); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: read the index: %v", c.cluster, err)
		}
		rc := NewReader(c.cluster, c.keys, x, b).Open(t.Context(), s)
		if _, err := io.ReadAll(rc); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: read a stream: %v", c.cluster, err)
		}
		_ = rc.Close()
	}
}

func TestAStreamOfTheWrongSizeIsRefused(t *testing.T) {
	b := newBucket()
	w := begin(t, b, nil)
	data := noise(1, 1<<20)
	s := w.write(data, Files)
	x, _, _ := w.end()
	for _, by := range []int64{-1, 1, -1 << 19, 1 << 19} {
		wrong := s
		wrong.Size += by
		if _, err := read(t, b, x, wrong); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%+d bytes: %v", by, err)
		}
	}
	wrong := s
	wrong.Chunks = append([]ID{{1}}, s.Chunks...)
	if _, err := read(t, b, x, wrong); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an unknown chunk: %v", err)
	}
}

func TestADamagedStreamIsRightUpToTheDamage(t *testing.T) {
	b := newBucket()
	w := begin(t, b, nil)
	data := noise(1, 3<<20)
	s := w.write(data, Files)
	x, _, _ := w.end()
	i, r, _ := x.find(s.Chunks[20])
	spoilt := b.packs[x.sections[i].Digest]
	spoilt[r.offset+7] ^= 1
	got, err := read(t, b, x, s)
	if !errors.Is(err, ErrCorrupt) || len(got) == 0 || !bytes.HasPrefix(data, got) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestAPackDescribesItself(t *testing.T) {
	b := newBucket()
	w := begin(t, b, nil)
	data := prose(1, 1<<20)
	s := w.write(data, Files)
	x, _, _ := w.end()
	var got []byte
	chunks := make(map[ID][]byte)
	err := Contents(testCluster, testKeys(), b.packs[x.sections[0].Digest], func(id ID, chunk []byte) error {
		chunks[id] = bytes.Clone(chunk)
		return nil
	})
	for _, id := range s.Chunks {
		got = append(got, chunks[id]...)
	}
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func FuzzContents(f *testing.F) {
	b := newBucket()
	// Every fuzzing process must come to the same packs.
	w, err := NewWriter(f.Context(), WriterConfig{
		Cluster: testCluster, Keys: testKeys(), Put: b.put, Random: rand.NewChaCha8([32]byte{1}),
	})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := w.Write(f.Context(), bytes.NewReader(noise(1, 100)), Files); err != nil {
		f.Fatal(err)
	}
	if _, _, err := w.Close(f.Context()); err != nil {
		f.Fatal(err)
	}
	sound := make(map[string]bool)
	for _, p := range b.packs {
		f.Add(p)
		sound[string(p)] = true
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if err := Contents(testCluster, testKeys(), p, nop); err == nil && !sound[string(p)] {
			t.Error("a forged pack was read")
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(indexMagic))
	f.Add(syntheticIndex(f, 2, 3).raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		x, err := parseIndex(IndexRef{}, nil, raw)
		if err != nil {
			return
		}
		for _, s := range x.sections {
			for n := range s.count() {
				if _, _, ok := x.find(x.record(s, n).id); !ok {
					t.Error("a chunk of the index cannot be found")
				}
			}
		}
	})
}

// TestABombIsRefused: a frame that expands to more than it says costs no more
// memory than a chunk, whoever sealed it.
func TestABombIsRefused(t *testing.T) {
	c, err := newCodec(testCluster, testKeys())
	if err != nil {
		t.Fatal(err)
	}
	bomb, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		t.Fatal(err)
	}
	data := bomb.EncodeAll(make([]byte, 256<<20), nil)
	if len(data) > maxChunkSize {
		t.Fatalf("the bomb has %d bytes", len(data))
	}
	aead, err := c.aead(Salt{1})
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []uint32{1, 1000, maxChunkSize} {
		r := record{id: ID{1}, offset: packHeaderSize, size: size}
		frame := aead.Seal(nil, nonce(r.offset), data, c.context[frameZstd])
		r.length = uint32(len(frame))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := c.open(aead, r, frame, make([]byte, 0, maxChunkSize), make([]byte, 0, maxChunkSize))
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if spent := after.TotalAlloc - before.TotalAlloc; spent > 4<<20 {
			t.Errorf("%d bytes: took %d bytes of memory", size, spent)
		}
	}
}
