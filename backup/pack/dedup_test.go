package pack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNothingChangedStoresNothing(t *testing.T) {
	for _, size := range []int{0, 100, 5 << 20} {
		b := newBucket()
		w := begin(t, b, nil)
		data, meta := prose(1, size), prose(2, size/10)
		s, m := w.write(data, Files), w.write(meta, Metadata)
		x, ref, _ := w.end()
		b.counts()

		w = begin(t, b, x)
		if !w.Keep(s) {
			t.Error("a known stream cannot be kept")
		}
		if again := w.write(meta, Metadata); !again.Equal(m) {
			t.Error("the same metadata give other chunks")
		}
		ref2, stats, err := w.Close(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if puts, gets := b.counts(); puts+gets > 0 || len(stats.Packs) > 0 || stats.New+stats.Stored > 0 {
			t.Errorf("%d bytes: %d puts, %d gets, %+v", size, puts, gets, stats)
		}
		if diff := cmp.Diff(ref, ref2); diff != "" {
			t.Errorf("the index moved:\n%s", diff)
		}
		if want := int64(size + size/10); stats.Logical != want {
			t.Errorf("%d logical bytes instead of %d", stats.Logical, want)
		}
	}
}

func TestASmallChangeStoresLittle(t *testing.T) {
	b := newBucket()
	w := begin(t, b, nil)
	data := noise(1, 40<<20)
	w.write(data, Files)
	x, _, _ := w.end()

	changed := slices.Concat(data[:20<<20], []byte("a few more bytes"), data[20<<20:])
	w = begin(t, b, x)
	s := w.write(changed, Files)
	x, _, stats := w.end()
	if stats.Stored > 512<<10 {
		t.Errorf("an insertion of 16 bytes stored %d", stats.Stored)
	}
	mustRead(t, b, x, s, changed)
}

func TestAChunkIsStoredOnceHoweverManyWriteIt(t *testing.T) {
	b := newBucket()
	w := begin(t, b, nil)
	data := noise(9, 100)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := w.Write(t.Context(), bytes.NewReader(data), Files); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	x, _, stats := w.end()
	if stats.Chunks != 1 || stats.New != 100 || stats.Logical != 5000 || x.Chunks() != 1 {
		t.Errorf("%+v, %d chunks indexed", stats, x.Chunks())
	}
}

func TestPacksOutOfUseLeaveTheIndex(t *testing.T) {
	b := newBucket()
	w := begin(t, b, nil)
	old := w.write(noise(1, 1<<20), Files)
	x, _, _ := w.end()
	w = begin(t, b, x)
	w.Keep(old)
	recent := w.write(noise(2, 1<<20), Files)
	x, _, _ = w.end()
	if n := len(x.sections); n != 2 {
		t.Fatalf("%d packs hold chunks", n)
	}
	kept := x.raw[x.sections[1].start:x.sections[1].end]

	w = begin(t, b, x)
	if !w.Keep(recent) {
		t.Fatal("a known stream cannot be kept")
	}
	y, _, stats := w.end()
	if len(y.sections) != 1 || y.sections[0].Digest != x.sections[1].Digest {
		t.Errorf("%d packs are left", len(y.sections))
	}
	if !bytes.Equal(kept, y.raw[len(indexMagic):]) {
		t.Error("the section of a pack in use changed")
	}
	if stats.Chunks != 0 {
		t.Errorf("%d chunks were written again", stats.Chunks)
	}
	w = begin(t, b, y)
	if w.Keep(old) {
		t.Error("a stream was kept whose pack is out of use")
	}
	w.Abort()
}

func TestKeepIsAllOrNothing(t *testing.T) {
	b := newBucket()
	w := begin(t, b, nil)
	s := w.write(noise(1, 300<<10), Files)
	deep := w.write(noise(2, 3<<20), Database)
	x, _, _ := w.end()

	w = begin(t, b, x)
	defer w.Abort()
	torn := s
	torn.Chunks = append(slices.Clone(s.Chunks), ID{1})
	if w.Keep(torn) {
		t.Error("a stream with an unknown chunk was kept")
	}
	for i := range w.live {
		if w.live[i].Load() {
			t.Error("a stream that was not kept left a trace")
		}
	}
	if deep.Depth == 0 || w.Keep(deep) {
		t.Error("a nested stream was kept")
	}
	if w.Logical() != 0 {
		t.Errorf("%d bytes count as kept", w.Logical())
	}
	if !w.Keep(Stream{}) {
		t.Error("an empty stream cannot be kept")
	}
}

func TestPacksThatAreDueAreWrittenAgain(t *testing.T) {
	b := newBucket()
	w := begin(t, b, nil)
	data := noise(1, 3<<20)
	s := w.write(data, Files)
	x, _, _ := w.end()
	first := x.Packs()

	b.now = b.now.Add(100 * time.Hour)
	due := func(c *WriterConfig) {
		c.Due = func(i Info) bool { return b.now.Sub(i.Time) > time.Hour }
	}
	w = begin(t, b, x, due)
	if w.Keep(s) {
		t.Error("a stream of a pack that is due was kept")
	}
	if again := w.write(data, Files); !again.Equal(s) {
		t.Error("the same data give other chunks")
	}
	if !w.Keep(s) {
		t.Error("a stream that was just written cannot be kept")
	}
	y, _, stats := w.end()
	for _, i := range y.Packs() {
		if !i.Time.Equal(b.now) {
			t.Errorf("the backup still refers to %s of %s", i.Digest.Key(), i.Time)
		}
		for _, f := range first {
			if f.Digest == i.Digest {
				t.Errorf("%s was not renewed", i.Digest.Key())
			}
		}
	}
	if !stats.Oldest.Time.Equal(b.now) {
		t.Errorf("the oldest pack is of %s", stats.Oldest.Time)
	}
	mustRead(t, b, y, s, data)
}

func TestTheStoreHasTheLastWordOnTimes(t *testing.T) {
	b := newBucket()
	w := begin(t, b, nil)
	s := w.write(noise(1, 1<<20), Files)
	x, _, _ := w.end()
	w = begin(t, b, x)
	w.Keep(s)
	r := w.write(noise(2, 1<<20), Files)
	x, ref, _ := w.end()

	times := make(map[Digest]time.Time)
	for _, i := range x.Packs() {
		times[i.Digest] = i.Time.Add(time.Second)
	}
	if x.Confirm(times) != x {
		t.Error("a second's difference counts as a change")
	}
	gone, older := x.sections[0].Digest, x.sections[1].Digest
	delete(times, gone)
	times[older] = times[older].Add(-48 * time.Hour)
	y := x.Confirm(times)
	if times := []time.Time{x.sections[1].Time, y.sections[1].Time}; times[0].Sub(times[1]) < 47*time.Hour {
		t.Errorf("the time was not taken over: %s", times)
	}
	w = begin(t, b, y)
	if w.Keep(s) {
		t.Error("a stream of a missing pack was kept")
	}
	if !w.Keep(r) {
		t.Error("a stream of an older pack cannot be kept")
	}
	z, ref2, _ := w.end()
	if len(z.sections) != 1 || !z.sections[0].Time.Equal(y.sections[1].Time) {
		t.Errorf("the new index has %d packs", len(z.sections))
	}
	if cmp.Equal(ref, ref2) {
		t.Error("the index did not change")
	}
}

func TestAFailureToStoreFailsTheBackup(t *testing.T) {
	b := newBucket()
	full := errors.New("the bucket is full")
	b.fail = func(i Info) error {
		if !i.Meta {
			return full
		}
		return nil
	}
	w := begin(t, b, nil)
	var err error
	for i := uint64(0); err == nil && i < 100; i++ {
		_, err = w.Write(t.Context(), bytes.NewReader(noise(i, 4<<20)), Files)
	}
	if !errors.Is(err, full) {
		t.Errorf("Write went on, with %v", err)
	}
	_, _, err = w.Close(t.Context())
	if !errors.Is(err, full) || !strings.Contains(err.Error(), "packs/") {
		t.Errorf("Close: %v", err)
	}
}

func TestAReaderThatFailsFailsItsStreamOnly(t *testing.T) {
	b := newBucket()
	w := begin(t, b, nil)
	broken := errors.New("the disk is broken")
	if _, err := w.Write(t.Context(), iotest.ErrReader(broken), Files); !errors.Is(err, broken) {
		t.Errorf("Write: %v", err)
	}
	s := w.write(noise(1, 1000), Files)
	x, _, _ := w.end()
	mustRead(t, b, x, s, noise(1, 1000))
}

func TestCancellingEndsABackup(t *testing.T) {
	b := newBucket()
	ctx, cancel := context.WithCancel(t.Context())
	w, err := NewWriter(ctx, WriterConfig{Cluster: testCluster, Keys: testKeys(), Put: b.put})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := w.Write(t.Context(), bytes.NewReader(noise(1, 1<<20)), Files); !errors.Is(err, context.Canceled) {
		t.Errorf("Write: %v", err)
	}
	if _, _, err := w.Close(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
	w.Abort()
}

func TestPacksInFlightAreBounded(t *testing.T) {
	b := newBucket()
	const parallel, slots = 2, 4
	var mu sync.Mutex
	inFlight, most := 0, 0
	full := make(chan struct{})
	put := func(ctx context.Context, info Info, data []byte) (time.Time, error) {
		mu.Lock()
		inFlight++
		most = max(most, inFlight)
		if most == slots && inFlight == slots {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		mu.Unlock()
		defer func() { mu.Lock(); inFlight--; mu.Unlock() }()
		if len(data) > MaxPackSize {
			t.Errorf("a pack of %d bytes", len(data))
		}
		if !info.Meta {
			<-full // until nothing more can begin
		}
		return b.put(ctx, info, data)
	}
	w := begin(t, b, nil, func(c *WriterConfig) { c.Parallel, c.Put = parallel, put })
	for i := range uint64(10) {
		w.write(noise(i, packTarget), Files)
	}
	w.end()
	if most > slots {
		t.Errorf("%d packs were in flight", most)
	}
}

// syntheticIndex has many packs of many chunks that are nowhere.
func syntheticIndex(tb testing.TB, packs, chunks int) *Index {
	tb.Helper()
	raw := []byte(indexMagic)
	n := uint64(0)
	for p := range packs {
		head := packHead{Info: Info{Digest: Digest(noise(uint64(p), 32)), Size: 15 << 20, Time: time.UnixMilli(int64(p))}}
		raw = head.append(raw, chunks)
		offset := uint32(packHeaderSize)
		for range chunks {
			n++
			r := record{id: ID(bytes.Repeat([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n * 7)}, 8)), offset: offset, length: 5000 + uint32(n%977), size: 60000}
			raw = r.append(raw)
			offset = r.end()
		}
	}
	x, err := parseIndex(IndexRef{}, nil, raw)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func TestTheReferenceToAHugeIndexIsSmall(t *testing.T) {
	x := syntheticIndex(t, 600, 1000)
	b := newBucket()
	w := begin(t, b, x)
	for i := range w.live {
		w.live[i].Store(true)
	}
	w.write(noise(1, 10), Files)
	y, ref, _ := w.end()
	text, err := json.Marshal(ref)
	if err != nil {
		t.Fatal(err)
	}
	if ref.Depth == 0 || len(text) > 20<<10 {
		t.Errorf("depth %d, %d bytes", ref.Depth, len(text))
	}
	if y.Chunks() != 600_001 || !bytes.HasPrefix(y.raw, x.raw) {
		t.Errorf("%d chunks", y.Chunks())
	}

	// One more chunk changes little of it.
	w = begin(t, b, y)
	for i := range w.live {
		w.live[i].Store(true)
	}
	w.write(noise(2, 10), Files)
	z, _, stats := w.end()
	if stats.Stored > 300<<10 {
		t.Errorf("one more chunk stored %d bytes", stats.Stored)
	}
	if _, _, ok := z.find(ID(bytes.Repeat([]byte{0x10, 0x27, 0, 0x70}, 8))); !ok {
		t.Error("a chunk cannot be found")
	}
	if len(z.own) == 0 || len(z.Packs()) < 602 {
		t.Errorf("%d packs", len(z.Packs()))
	}
}
