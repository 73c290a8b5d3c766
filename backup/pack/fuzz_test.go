package pack

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"testing"
	"time"
)

// written is one backup in memory, of several kinds of chunks.
func written(tb testing.TB) (*bucket, *Index, IndexRef, Stream) {
	tb.Helper()
	b := newBucket()
	w := begin(tb, b, nil)
	s := w.write(noise(1, 300<<10), Files)
	x, ref, _ := w.end()
	return b, x, ref, s
}

// FuzzIndexRef: where a backup's index is said to be stands in its manifest,
// which somebody who has the key can have written.
func FuzzIndexRef(f *testing.F) {
	b, _, ref, _ := written(f)
	add := func(change func(*IndexRef)) {
		other := ref
		other.Packs, other.Chunks = append([]IndexPack{}, ref.Packs...), append([]IndexChunk{}, ref.Chunks...)
		change(&other)
		text, err := json.Marshal(other)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	add(func(*IndexRef) {})
	add(func(r *IndexRef) { r.Depth = 1 })
	add(func(r *IndexRef) { r.Depth = math.MaxInt; r.Chunks = nil })
	add(func(r *IndexRef) { r.Depth = -1 })
	add(func(r *IndexRef) { r.Size = math.MinInt64 })
	add(func(r *IndexRef) { r.Chunks[0].Pack = -1 })
	add(func(r *IndexRef) { r.Chunks[0].Offset = math.MaxUint32; r.Chunks[0].Length = math.MaxUint32 })
	add(func(r *IndexRef) { r.Chunks = append(r.Chunks, r.Chunks...) })
	f.Fuzz(func(t *testing.T, text []byte) {
		var r IndexRef
		if json.Unmarshal(text, &r) != nil {
			return
		}
		began := time.Now()
		x, err := LoadIndex(t.Context(), testCluster, testKeys(), b, r)
		if err == nil && x.Chunks() == 0 && r.Size != int64(len(indexMagic)) {
			t.Error("an index without chunks was read")
		}
		if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("an error of no kind: %v", err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// FuzzStream: how a stream is made up stands in a tree or in a manifest.
func FuzzStream(f *testing.F) {
	b, x, _, s := written(f)
	add := func(s Stream) {
		text, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	add(s)
	for _, depth := range []int{-1, 1, 2, 1000, math.MaxInt} {
		add(Stream{Size: s.Size, Depth: depth, Chunks: s.Chunks})
	}
	for _, size := range []int64{-1, 0, math.MinInt64, math.MaxInt64} {
		add(Stream{Size: size, Chunks: s.Chunks})
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var s Stream
		if json.Unmarshal(text, &s) != nil {
			return
		}
		r := NewReader(testCluster, testKeys(), x, b)
		stream := r.Open(t.Context(), s)
		n, err := io.Copy(io.Discard, stream)
		if err == nil && n != s.Size {
			t.Errorf("%d bytes of a stream of %d, and no error", n, s.Size)
		}
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("an error of no kind: %v", err)
		}
		_ = stream.Close()
	})
}

// FuzzLocated: the lists of an index's own chunks.
func FuzzLocated(f *testing.F) {
	_, x, _, _ := written(f)
	var all []byte
	for _, l := range x.own {
		all = l.record.append(l.packHead.append(all, 1))
	}
	f.Add(all)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := parseLocated(raw)
		if err == nil && len(list)*locatedSize != len(raw) {
			t.Errorf("%d of %d bytes", len(list), len(raw))
		}
		for _, l := range list {
			if err := l.check(); err != nil {
				t.Error(err)
			}
		}
	})
}

// FuzzTrailer: what a pack says of itself, by somebody who can sign and seal.
func FuzzTrailer(f *testing.F) {
	b, _, _, _ := written(f)
	for _, p := range b.packs {
		f.Add(p[len(p)-packFooterSize:], uint16(len(p)%1000))
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, uint16(9))
	f.Fuzz(func(t *testing.T, end []byte, keep uint16) {
		for _, p := range b.packs {
			cut := append(append([]byte{}, p[:min(int(keep), len(p))]...), end...)
			if err := Contents(testCluster, testKeys(), cut, nop); err == nil && string(cut) != string(p) {
				t.Error("a pack that was cut short was read")
			}
		}
	})
}
