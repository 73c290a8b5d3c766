package stream_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

func TestAPartIsFoundByPosition(t *testing.T) {
	w := newWorld(t)
	c := w.chain()
	random := rand.New(rand.NewPCG(1, 2))
	ends := []stream.Position{}
	for to := start.To; len(ends) < 50; {
		to += 1 + stream.Position(random.IntN(100))
		ends = append(ends, to)
	}
	tips := append([]stream.Tip{start}, w.ship(c, start, ends...)...)
	last := tips[len(tips)-1]
	expired := 0
	check := func() {
		t.Helper()
		for i, tip := range tips[1:] {
			for at := tips[i].To; at < tip.To; at += max(1, tip.To-tips[i].To-1) {
				w.store.Calls()
				got, err := c.Find(t.Context(), db, first, at, last)
				if i < expired {
					if !errors.Is(err, stream.ErrGone) {
						t.Errorf("position %d, whose part has expired: %+v, %v", at, got, err)
					}
					continue
				}
				if err != nil || got.Sequence != tips[i].Sequence || got.Digest != tips[i].Digest || got.To != tips[i].To {
					t.Errorf("position %d: %+v, %v, want %+v", at, got, err, tips[i])
				}
				if p, _, err := c.Read(t.Context(), db, first, got); err != nil || p.From > at || p.To <= at {
					t.Errorf("position %d: the part behind goes from %d to %d, %v", at, p.From, p.To, err)
				}
				if n := w.store.Count(storetest.Get); n > 8 {
					t.Errorf("position %d: %d requests", at, n)
				}
			}
		}
	}
	check()
	for _, at := range []stream.Position{last.To, last.To + 1, 1 << 62} {
		if got, err := c.Find(t.Context(), db, first, at, last); err != nil || got != last {
			t.Errorf("position %d: %+v, %v, want %+v", at, got, err, last)
		}
	}
	if _, err := c.Find(t.Context(), db, first, start.To-1, last); !errors.Is(err, stream.ErrGone) {
		t.Errorf("a position before the stream: %v", err)
	}
	for _, expired = range []int{1, 7, 49, 50} {
		for i := range expired {
			w.remove(uint64(i + 1))
		}
		check()
	}
}

func TestAStreamWithoutPartsHasNone(t *testing.T) {
	w := newWorld(t)
	if tip, err := w.chain().Find(t.Context(), db, first, 1000, start); err != nil || tip != start {
		t.Errorf("where it begins: %+v, %v", tip, err)
	}
	if _, err := w.chain().Find(t.Context(), db, first, 999, start); !errors.Is(err, stream.ErrGone) {
		t.Errorf("before it begins: %v", err)
	}
}

// An end part has the position of the one before it.
func TestAnEndIsNotFoundInThePlaceOfALog(t *testing.T) {
	w := newWorld(t)
	c := w.chain()
	tips := w.ship(c, start, 1100, 1500)
	_, end, err := c.Close(t.Context(), tips[1], byPromoter("p"))
	if err != nil {
		t.Fatal(err)
	}
	if tip, err := c.Find(t.Context(), db, first, 1499, end); err != nil || tip.Sequence != 1 {
		t.Errorf("the last byte lies behind %+v, %v", tip, err)
	}
	if tip, err := c.Find(t.Context(), db, first, 1500, end); err != nil || tip != end {
		t.Errorf("the end: %+v, %v", tip, err)
	}
}

func TestALongHeaderIsReadWhole(t *testing.T) {
	w := newWorld(t)
	c := w.chain()
	p := w.part(start, 1100)
	p.Begin = []byte(`{"history":"` + strings.Repeat("1\t0/5000000\tno recovery target\n", 3000)[:50000] + `"}`)
	p.Begin = []byte(strings.NewReplacer("\t", " ", "\n", " ").Replace(string(p.Begin)))
	tip, err := c.Append(t.Context(), start, p)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := c.Find(t.Context(), db, first, 1050, tip); err != nil || found != start {
		t.Errorf("found %+v, %v", found, err)
	}
	w.put(1, w.object(1)[:20000])
	if _, err := c.Find(t.Context(), db, first, 1050, tip); !errors.Is(err, stream.ErrDamaged) {
		t.Errorf("a header that is cut short: %v", err)
	}
}

func TestWhatMayNotBeReadIsNotSaidToBeGone(t *testing.T) {
	w := newWorld(t)
	tips := w.ship(w.chain(), start, 1100, 1500)
	for _, kind := range []error{blobstore.ErrDenied, blobstore.ErrUnavailable} {
		w.store.Inject(storetest.Fault{Op: storetest.Get, Times: storetest.Forever, Do: storetest.Fail(kind)})
		if _, err := w.chain().Find(t.Context(), db, first, 1200, tips[1]); !errors.Is(err, kind) || errors.Is(err, stream.ErrGone) {
			t.Errorf("%v: %v", kind, err)
		}
		if _, _, err := w.chain().Read(t.Context(), db, first, start); !errors.Is(err, kind) {
			t.Errorf("%v: read: %v", kind, err)
		}
		w.store.Heal()
	}
}
