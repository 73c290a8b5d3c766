package stream_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

func TestAPromoterEndsAStream(t *testing.T) {
	for name, head := range map[string]int{"at the head's tip": 2, "behind what came since": 0, "from the start": -1} {
		w := newWorld(t)
		tips := w.ship(w.chain(), start, 1100, 1500, 3000)
		after := start
		if head >= 0 {
			after = tips[head]
		}
		cfg := w.config()
		cfg.Keys = nil // who ends needs none
		p, end, err := w.open(cfg).Close(t.Context(), after, byPromoter("p"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if end.Sequence != 4 || end.To != 3000 || !end.Time.Equal(tips[2].Time) || *p.End != *byPromoter("p").End || p.From != 3000 || string(p.Begin) != `{"timeline":1}` {
			t.Errorf("%s: the end is %+v, %+v", name, end, p)
		}
		if tip := w.wantLog(w.chain(), 3000); tip != end {
			t.Errorf("%s: the stream ends with %+v, want %+v", name, tip, end)
		}
	}
}

func TestAStreamWithoutPartsIsEnded(t *testing.T) {
	w := newWorld(t)
	_, end, err := w.chain().Close(t.Context(), start, byPromoter("p"))
	if err != nil || end.Sequence != 1 || end.To != start.To {
		t.Fatalf("the end is %+v, %v", end, err)
	}
	if _, err := w.chain().Append(t.Context(), start, w.part(start, 1100)); !errors.As(err, new(*stream.EndedError)) {
		t.Errorf("the first part behind the end: %v", err)
	}
}

// The active's part comes first: the promoter takes it in, and tries the next name.
func TestAPartThatComesFirstIsTakenIn(t *testing.T) {
	w := newWorld(t)
	tips := w.ship(w.chain(), start, 1100)
	active := w.chain()
	after := tips[0]
	late, gate := storetest.Wait()
	w.store.Inject(storetest.Fault{Op: storetest.Conditional, Do: late})
	done := make(chan stream.Tip)
	go func() {
		_, end, err := w.chain().Close(t.Context(), after, byPromoter("p"))
		if err != nil {
			t.Error(err)
		}
		done <- end
	}()
	<-gate.Arrived() // the end part is under way
	after = w.ship(active, after, 1500, 1700)[1]
	gate.Open()
	end := <-done
	if end.Sequence != after.Sequence+1 || end.To != 1700 {
		t.Errorf("the end is %+v", end)
	}
	w.wantLog(w.chain(), 1700)
}

func TestTheFirstEndCounts(t *testing.T) {
	w := newWorld(t)
	tips := w.ship(w.chain(), start, 1100, 1500)
	_, end, err := w.chain().Close(t.Context(), tips[1], byPromoter("p"))
	if err != nil {
		t.Fatal(err)
	}
	for name, after := range map[string]stream.Tip{"from a part": tips[0], "from the last": tips[1], "from the end": end} {
		p, tip, err := w.chain().Close(t.Context(), after, byPromoter("q"))
		if err != nil || tip != end || p.End.By != "p" {
			t.Errorf("a second promoter, %s: %+v, %+v, %v", name, p, tip, err)
		}
	}
	if keys := w.memory.Keys(); len(keys) != 3 {
		t.Errorf("the bucket has %q", keys)
	}
}

func TestAnEndWhoseAnswerIsLostIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		tips := w.ship(w.chain(), start, 1100)
		w.store.Inject(
			storetest.Fault{Op: storetest.Conditional, Times: 2, Do: storetest.LoseAnswer()},
			storetest.Fault{Op: storetest.Get, After: 2, Times: 2, Do: storetest.Fail(blobstore.ErrNotFound)},
		)
		p, end, err := w.chain().Close(t.Context(), tips[0], byPromoter("p"))
		if err != nil || p.End.By != "p" || end.Sequence != 2 {
			t.Errorf("the end is %+v, %+v, %v", p, end, err)
		}
	})
}

func TestAStreamThatEndsBelowTheHeadsTipIsNotEnded(t *testing.T) {
	w := newWorld(t)
	tips := w.ship(w.chain(), start, 1100, 1500, 3000)
	w.remove(3)
	if _, _, err := w.chain().Close(t.Context(), tips[2], byPromoter("p")); !errors.Is(err, stream.ErrBelow) ||
		!strings.Contains(err.Error(), "streams/db/3-1/000000000003") {
		t.Errorf("without the tip: %v", err)
	}
	w.put(3, w.object(2))
	if _, _, err := w.chain().Close(t.Context(), tips[2], byPromoter("p")); !errors.Is(err, stream.ErrBelow) {
		t.Errorf("with another part there: %v", err)
	}
	w.remove(3)
	w.store.Inject(storetest.Fault{Op: storetest.Get, Do: storetest.Fail(blobstore.ErrDenied)})
	if _, _, err := w.chain().Close(t.Context(), tips[2], byPromoter("p")); !errors.Is(err, stream.ErrBelow) || !errors.Is(err, blobstore.ErrDenied) {
		t.Errorf("where it may not be listed: %v", err)
	}
	if keys := w.memory.Keys(); len(keys) != 2 {
		t.Errorf("the bucket has %q", keys)
	}
	// On an operator's word the stream is ended behind what is lost.
	_, end, err := w.chain().CloseLost(t.Context(), tips[2], byPromoter("p"))
	if err != nil || end.Sequence != 4 || end.To != 3000 {
		t.Errorf("the end is %+v, %v", end, err)
	}
}

func TestAnIdleStreamWhosePartsHaveExpiredIsEnded(t *testing.T) {
	w := newWorld(t)
	tips := w.ship(w.chain(), start, 1100)
	w.remove(1)
	w.now = tips[0].Time.Add(stream.Life - 2*time.Hour)
	if _, _, err := w.chain().Close(t.Context(), tips[0], byPromoter("p")); !errors.Is(err, stream.ErrBelow) {
		t.Errorf("before it expires: %v", err)
	}
	w.now = tips[0].Time.Add(stream.Life)
	if _, end, err := w.chain().Close(t.Context(), tips[0], byPromoter("p")); err != nil || end.Sequence != 2 || end.To != 1100 {
		t.Errorf("the end is %+v, %v", end, err)
	}
}

func TestABadPartKeepsAStreamFromBeingEnded(t *testing.T) {
	w := newWorld(t)
	tips := w.ship(w.chain(), start, 1100, 1500)
	object := w.object(2)
	object[len(object)-1]++
	w.put(2, object)
	if _, _, err := w.chain().Close(t.Context(), tips[0], byPromoter("p")); !errors.Is(err, stream.ErrDamaged) {
		t.Errorf("a part that was changed: %v", err)
	}
	p := byPromoter("p")
	p.End = nil
	if _, _, err := w.chain().Close(t.Context(), tips[0], p); err == nil {
		t.Error("a stream was ended without an end")
	}
}
