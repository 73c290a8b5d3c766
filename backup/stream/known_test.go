package stream_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

// versioned is a bucket that keeps versions, with parts in it. told are the parts of which
// an earlier version was read.
func versioned(t *testing.T) (w *world, c *stream.Chain, tips []stream.Tip, told *[]string) {
	w, told = newWorld(t), new([]string)
	w.memory.Versioned = true
	cfg := w.config()
	cfg.Recovered = func(_ context.Context, key string, _ blobstore.Version) { *told = append(*told, key[len(key)-1:]) }
	c = w.open(cfg)
	return w, c, w.ship(c, start, 1100, 1500, 3000, 3500), told
}

func TestAKnownPartIsReadFromAnEarlierVersion(t *testing.T) {
	w, c, tips, told := versioned(t)
	w.remove(1, 4)
	w.put(2, []byte("nonsense"))
	w.put(3, w.object(2))
	for i, tip := range tips {
		after := start
		if i > 0 {
			after = tips[i-1]
		}
		p, got, err := c.ReadKnown(t.Context(), db, first, after, tips[3])
		if err != nil || got != tip || len(p.Log) != int(tip.To-after.To) {
			t.Errorf("part %d: %+v, %v", i+1, got, err)
		}
	}
	if !slices.Equal(*told, []string{"1", "2", "3", "4"}) {
		t.Errorf("told were %q", *told)
	}
	if _, _, err := c.ReadKnown(t.Context(), db, first, tips[3], tips[3]); !errors.Is(err, stream.ErrNotYet) {
		t.Errorf("behind what is known: %v", err)
	}
	p, end, err := c.Close(t.Context(), tips[3], byPromoter("p"))
	if err != nil || end.Sequence != 5 || end.To != 3500 || p.Begin == nil {
		t.Errorf("the end is %+v, %v", end, err)
	}
}

// Once a part was deleted its name is free, and another one may take it.
func TestThePartThatWasThereFirstCounts(t *testing.T) {
	w, c, tips, _ := versioned(t)
	w.remove(3)
	other := w.part(tips[1], 3000)
	other.Log = make([]byte, len(other.Log))
	forged, err := c.Append(t.Context(), tips[1], other)
	if err != nil {
		t.Fatal(err)
	}
	if _, tip, err := c.ReadKnown(t.Context(), db, first, tips[1], tips[2]); err != nil || tip != tips[2] {
		t.Errorf("the part that was confirmed: %+v, %v", tip, err)
	}
	// The head names a later part: that the chain does not lead there is seen at the next.
	if _, tip, err := c.ReadKnown(t.Context(), db, first, tips[1], tips[3]); err != nil || tip != forged {
		t.Errorf("the part that is there: %+v, %v", tip, err)
	}
	if _, _, err := c.ReadKnown(t.Context(), db, first, forged, tips[3]); !errors.Is(err, stream.ErrBroken) {
		t.Errorf("the part behind it: %v", err)
	}
}

func TestAKnownPartThatIsNotThereIsToldOf(t *testing.T) {
	w := newWorld(t)
	c := w.chain()
	tips := w.ship(c, start, 1100, 1500, 3000)
	read := func(after, known stream.Tip) error {
		_, _, err := c.ReadKnown(t.Context(), db, first, after, known)
		return err
	}
	object := w.object(2)
	w.remove(2)
	if err := read(tips[0], tips[2]); !errors.Is(err, stream.ErrGone) || !strings.Contains(err.Error(), "position 1100") {
		t.Errorf("a part that was deleted: %v", err)
	}
	w.store.Inject(storetest.Fault{Op: storetest.Get, Do: storetest.Fail(blobstore.ErrDenied)})
	if err := read(tips[0], tips[2]); !errors.Is(err, stream.ErrGone) || !errors.Is(err, blobstore.ErrDenied) {
		t.Errorf("a part that may not be read: %v", err)
	}
	w.store.Inject(storetest.Fault{Op: storetest.Get, Do: storetest.Fail(blobstore.ErrUnavailable)})
	if err := read(tips[0], tips[2]); !errors.Is(err, blobstore.ErrUnavailable) || errors.Is(err, stream.ErrGone) {
		t.Errorf("a bucket that is away: %v", err)
	}
	object[100]++
	w.put(2, object)
	if err := read(tips[0], tips[2]); !errors.Is(err, seal.ErrSignature) {
		t.Errorf("a part that was changed: %v", err)
	}
	if err := read(tips[1], stream.Tip{Sequence: 3, Digest: tips[0].Digest, To: 3000}); !errors.Is(err, stream.ErrBroken) {
		t.Errorf("another part than was confirmed: %v", err)
	}
	if err := read(tips[1], tips[2]); err != nil {
		t.Error(err)
	}
}

func TestMissingPartsAreNamed(t *testing.T) {
	w, c, tips, _ := versioned(t)
	tips = append(tips, w.ship(c, tips[3], 3600, 3700, 3800, 3900, 4000, 4100, 4200, 4300)...)
	last := tips[11]
	want := func(from stream.Position, parts int, kind error, says string) {
		t.Helper()
		n, err := c.Check(t.Context(), db, first, from, last)
		if n != parts || !errors.Is(err, kind) || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("from position %d: %d parts, %v", from, n, err)
		}
	}
	want(1000, 12, nil, "")
	want(1499, 11, nil, "")
	want(3500, 8, nil, "")
	want(last.To, 0, nil, "")
	w.remove(1) // it has expired
	want(1100, 11, nil, "")
	want(1000, 0, stream.ErrGone, "position 1000")
	w.remove(5)
	want(1100, 0, stream.ErrGone, "streams/db/3-1/000000000005 is not in the bucket")
	w.remove(4)
	want(1100, 0, stream.ErrGone, "is not in the bucket")
	want(3600, 7, nil, "")
	w.put(12, w.object(11))
	want(last.To, 0, stream.ErrBelow, "streams/db/3-1/000000000012")
	w.remove(12)
	want(last.To, 0, stream.ErrBelow, "streams/db/3-1/000000000012")
	w.now = w.now.Add(stream.Life)
	want(last.To, 0, nil, "")
	want(last.To-1, 0, stream.ErrGone, "is not in the bucket")
}
