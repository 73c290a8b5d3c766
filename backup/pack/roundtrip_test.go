package pack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	sizes := []int{0, 1, 15, 16<<10 - 1, 16 << 10, 16<<10 + 1, 64 << 10, 256 << 10, 256<<10 + 1, 3 << 20, 9 << 20}
	for _, p := range []Profile{Files, Database, Metadata} {
		for _, size := range sizes {
			for name, make := range map[string]func(uint64, int) []byte{"noise": noise, "prose": prose} {
				t.Run(fmt.Sprintf("%d/%d/%s", p, size, name), func(t *testing.T) {
					b := newBucket()
					w := begin(t, b, nil)
					data := make(uint64(size), size)
					s := w.write(data, p)
					if p == Files && s.Depth != 0 {
						t.Errorf("a file's list has depth %d", s.Depth)
					}
					if p != Files && len(s.Chunks) > maxList {
						t.Errorf("%d chunks are listed in place", len(s.Chunks))
					}
					x, _, _ := w.end()
					mustRead(t, b, x, s, data)
					var out bytes.Buffer
					rc := NewReader(testCluster, testKeys(), x, b).Open(t.Context(), s)
					if n, err := io.Copy(&out, rc); err != nil || n != int64(size) || !bytes.Equal(out.Bytes(), data) {
						t.Errorf("copied %d bytes: %v", n, err)
					}
					if err := rc.Close(); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

func TestReadersMayBeSlowAndFine(t *testing.T) {
	b := newBucket()
	w := begin(t, b, nil)
	data := prose(4, 1<<20)
	s, err := w.Write(t.Context(), iotest.HalfReader(bytes.NewReader(data)), Database)
	if err != nil {
		t.Fatal(err)
	}
	again := w.write(data, Database)
	if !s.Equal(again) {
		t.Error("the chunks depend on how the reader hands out its data")
	}
	x, _, _ := w.end()
	rc := NewReader(testCluster, testKeys(), x, b).Open(t.Context(), s)
	defer rc.Close()
	if err := iotest.TestReader(rc, data); err != nil {
		t.Error(err)
	}
}

func TestStreamsAndReferencesSurviveJSON(t *testing.T) {
	b := newBucket()
	w := begin(t, b, nil)
	s := w.write(noise(1, 2<<20), Database)
	empty := w.write(nil, Files)
	_, ref, _ := w.end()
	for _, v := range []any{s, empty, ref} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("null")) {
			t.Errorf("a list is null: %s", text)
		}
		var diff string
		switch v := v.(type) {
		case Stream:
			var got Stream
			err = json.Unmarshal(text, &got)
			diff = cmp.Diff(v, got)
		case IndexRef:
			var got IndexRef
			err = json.Unmarshal(text, &got)
			diff = cmp.Diff(v, got)
		}
		if err != nil || diff != "" {
			t.Errorf("%v\n%s\n%s", err, diff, text)
		}
	}
}

func TestManyStreamsAtOnce(t *testing.T) {
	b := newBucket()
	w := begin(t, b, nil)
	const n = 64
	data := make([][]byte, n)
	streams := make([]Stream, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			data[i] = prose(uint64(i%8), 200<<10+i%8*37777) // each of them eight times
			var err error
			if streams[i], err = w.Write(t.Context(), bytes.NewReader(data[i]), Files); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	x, _, stats := w.end()
	distinct := make(map[ID]bool)
	for _, s := range streams {
		for _, id := range s.Chunks {
			distinct[id] = true
		}
	}
	if stats.Chunks != int64(len(distinct)) || x.Chunks() != len(distinct) {
		t.Errorf("%d chunks stored, %d indexed, %d distinct", stats.Chunks, x.Chunks(), len(distinct))
	}
	r := NewReader(testCluster, testKeys(), x, b)
	for i := range n {
		wg.Go(func() {
			rc := r.Open(t.Context(), streams[i])
			defer rc.Close()
			if got, err := io.ReadAll(rc); err != nil || !bytes.Equal(got, data[i]) {
				t.Errorf("stream %d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	wg.Wait()
}

func TestSmallStreamsWrittenTogetherAreReadTogether(t *testing.T) {
	b := newBucket()
	w := begin(t, b, nil)
	var streams []Stream
	const n, size = 2000, 5000
	for i := range n {
		streams = append(streams, w.write(noise(uint64(i), size), Files))
	}
	x, _, _ := w.end()
	b.counts()
	r := NewReader(testCluster, testKeys(), x, b)
	for i, s := range streams {
		rc := r.Open(t.Context(), s)
		got, err := io.ReadAll(rc)
		if err != nil || !bytes.Equal(got, noise(uint64(i), size)) {
			t.Fatalf("stream %d: %v", i, err)
		}
		_ = rc.Close()
	}
	if _, gets := b.counts(); gets > n*size/extentSize+3 {
		t.Errorf("%d requests for %d small streams", gets, n)
	}
}

func TestAStreamMayBeClosedEarly(t *testing.T) {
	b := newBucket()
	w := begin(t, b, nil)
	s := w.write(noise(1, 10<<20), Database)
	x, _, _ := w.end()
	rc := NewReader(testCluster, testKeys(), x, b).Open(t.Context(), s)
	if _, err := io.ReadFull(rc, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if err := rc.Close(); err != nil {
		t.Error(err)
	}
	if _, err := rc.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read after close: %v", err)
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("some text"), uint16(3), uint8(0))
	f.Add([]byte{0}, uint16(60000), uint8(1))
	f.Add(noise(1, 1000), uint16(700), uint8(2))
	f.Fuzz(func(t *testing.T, seed []byte, times uint16, profile uint8) {
		data := bytes.Repeat(seed, int(times))
		data = data[:min(len(data), 1<<20)]
		b := newBucket()
		w := begin(t, b, nil)
		s := w.write(data, Profile(profile%profiles))
		x, ref, _ := w.end()
		mustRead(t, b, x, s, data)
		// Again, on top: nothing is new.
		w = begin(t, b, x)
		if again := w.write(data, Profile(profile%profiles)); !again.Equal(s) {
			t.Error("the same data give other chunks")
		}
		if _, ref2, stats := w.end(); stats.Chunks != 0 || !cmp.Equal(ref, ref2) {
			t.Errorf("%d chunks were new", stats.Chunks)
		}
	})
}
