package pack

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// over writes data over what was kept as old in a backup of its own, and checks what is
// read of it.
func over(t *testing.T, b *bucket, known *Index, data []byte, old Stream) (*Index, Stream, Stats) {
	t.Helper()
	w := begin(t, b, known)
	s, err := w.WriteOver(t.Context(), bytes.NewReader(data), Files, old)
	if err != nil {
		t.Fatal(err)
	}
	x, _, stats := w.end()
	if s.Size != int64(len(data)) || stats.Logical != s.Size {
		t.Fatalf("a stream of %d bytes, %d in all, instead of %d", s.Size, stats.Logical, len(data))
	}
	mustRead(t, b, x, s, data)
	return x, s, stats
}

// first is a backup to begin with.
func first(t *testing.T, data []byte) (*bucket, *Index, Stream) {
	t.Helper()
	b := newBucket()
	w := begin(t, b, nil)
	s := w.write(data, Files)
	x, _, _ := w.end()
	return b, x, s
}

func TestWhatIsAddedIsAllThatIsStored(t *testing.T) {
	for _, size := range []int{leastTail, 24 << 10, 100 << 10, 1 << 20} {
		data := noise(1, size)
		b, x, s := first(t, data)
		_, _, stats := over(t, b, x, append(data, noise(2, 200)...), s)
		if stats.New != 200 && size < 32<<10 {
			t.Errorf("%d bytes are new where 200 were added to %d", stats.New, size)
		}
		if most := int64(leastTail + 200); stats.New > most {
			t.Errorf("%d bytes are new where 200 were added to %d, want %d at most", stats.New, size, most)
		}
	}
}

// TestALogThatGrowsStaysInFewChunks: many small additions are put together.
func TestALogThatGrowsStaysInFewChunks(t *testing.T) {
	data := noise(1, 100<<10)
	b, x, s := first(t, data)
	for i := range 300 {
		data = append(data, noise(uint64(i+2), 200)...)
		var stats Stats
		if x, s, stats = over(t, b, x, data, s); stats.New > leastTail+200 {
			t.Fatalf("addition %d: %d bytes are new", i, stats.New)
		}
	}
	if most := len(data)/leastTail + 1; len(s.Chunks) > most {
		t.Errorf("%d bytes are in %d chunks, want %d at most", len(data), len(s.Chunks), most)
	}
}

func TestWhatHasNotChangedIsTheSameStream(t *testing.T) {
	data := noise(1, 1<<20)
	b, x, s := first(t, data)
	x, s, _ = over(t, b, x, append(data, noise(2, 200)...), s)
	_, again, stats := over(t, b, x, append(data, noise(2, 200)...), s)
	if !again.Equal(s) || stats.New != 0 {
		t.Errorf("the same content is another stream, with %d new bytes", stats.New)
	}
}

func TestAnOverwrittenRegionIsStoredWithItsChunksAlone(t *testing.T) {
	data := prose(1, 8<<20)
	b, x, s := first(t, data)
	data = bytes.Clone(data)
	copy(data[3<<20:], noise(2, 1<<20))
	if _, _, stats := over(t, b, x, data, s); stats.New > 1<<20+2*maxChunkSize {
		t.Errorf("%d bytes are new of 1 MiB", stats.New)
	}
}

// TestAnyChangeIsKept has a stream changed in many ways, and its earlier versions be
// followed, also those of which a chunk is not known.
func TestAnyChangeIsKept(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	data := noise(1, 600<<10)
	b, x, s := first(t, data)
	for i := range 60 {
		at := r.IntN(len(data) + 1)
		part := noise(uint64(i+2), r.IntN(50<<10))
		switch r.IntN(5) {
		case 0:
			data = append(bytes.Clone(data), part...)
		case 1:
			data = bytes.Clone(data)
			copy(data[at:], part)
		case 2:
			data = append(append(bytes.Clone(data[:at]), part...), data[at:]...)
		case 3:
			data = append(bytes.Clone(data[:at]), data[min(len(data), at+len(part)):]...)
		case 4:
			data = bytes.Clone(data[:at])
		}
		old := s
		if i%7 == 0 && len(old.Chunks) > 1 {
			old.Chunks = append([]ID{{1}}, old.Chunks[1:]...)
		}
		x, s, _ = over(t, b, x, data, old)
		if len(data) < 100<<10 {
			data = append(data, noise(uint64(i+100), 400<<10)...)
		}
	}
}
