package stream_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

// TestARunIsFound from each position, up to where a part is missing, in few reads.
func TestARunIsFound(t *testing.T) {
	w := newWorld(t)
	c := w.chain()
	var ends []stream.Position
	for i := range 300 {
		ends = append(ends, stream.Position(1010+10*i))
	}
	tips := w.ship(c, start, ends...)
	last := tips[len(tips)-1]
	for _, at := range []stream.Position{1000, 1001, 1009, 1010, 1999, 2000, 3995, 3999} {
		run, err := c.RunFrom(t.Context(), db, first, at, 1<<40)
		if err != nil || run.Before.To > at || at > run.Before.To+10 || run.Last.To != last.To || run.Last.Sequence != 300 || !run.Last.Time.Equal(last.Time) {
			t.Fatalf("from %d: %+v, %v", at, run, err)
		}
		if p, _, err := c.Read(t.Context(), db, first, run.Before); err != nil || p.From > at || p.To <= at {
			t.Errorf("from %d: the part from %d to %d, %v", at, p.From, p.To, err)
		}
	}
	if run, err := c.RunFrom(t.Context(), db, first, last.To, 1<<40); err != nil || run.Last.Sequence != 300 {
		t.Errorf("from the end on: %+v, %v", run, err)
	}
	gone := func(at stream.Position) {
		t.Helper()
		if run, err := c.RunFrom(t.Context(), db, first, at, 1<<40); !errors.Is(err, stream.ErrGone) {
			t.Errorf("from %d: %+v, %v", at, run, err)
		}
	}
	gone(last.To + 1)
	gone(999)
	w.remove(1, 2, 250)
	gone(1015)
	if run, err := c.RunFrom(t.Context(), db, first, 1020, 1<<40); err != nil || run.Before.Sequence != 2 || run.Last.Sequence != 249 {
		t.Errorf("before a hole: %+v, %v", run, err)
	}
	if run, err := c.RunFrom(t.Context(), db, stream.ID{Epoch: 9, N: 1}, 1000, 1<<40); !errors.Is(err, stream.ErrGone) {
		t.Errorf("of a stream that is not there: %+v, %v", run, err)
	}
}

func TestStreamsAreListedInTheirOrder(t *testing.T) {
	w := newWorld(t)
	c := w.chain()
	want := []stream.ID{{Epoch: 2, N: 1}, {Epoch: 2, N: 3}, {Epoch: 2, N: 12}, {Epoch: 10, N: 1}}
	for _, id := range slices.Backward(want) {
		after := start
		for range 3 {
			p := w.part(after, after.To+10)
			p.Stream = id
			tip, err := c.Append(t.Context(), after, p)
			if err != nil {
				t.Fatal(err)
			}
			after = tip
		}
	}
	if got, err := c.Streams(t.Context(), db); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := c.Streams(t.Context(), "other"); err != nil || len(got) > 0 {
		t.Errorf("of another source: %v, %v", got, err)
	}
	w.store.Inject(storetest.Fault{Op: storetest.List, Do: storetest.Fail(blobstore.ErrUnavailable)})
	if got, err := c.Streams(t.Context(), db); err == nil {
		t.Errorf("while nothing can be listed: %v", got)
	}
}
