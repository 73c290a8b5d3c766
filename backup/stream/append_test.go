package stream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

func TestALogIsShippedAndRead(t *testing.T) {
	w := newWorld(t)
	tips := w.ship(w.chain(), start, 1100, 1500, 40000)
	reader := w.config()
	reader.Keys = nil
	w.wantLog(w.open(reader), 40000)

	p, tip, err := w.chain().Read(t.Context(), db, first, start)
	if err != nil || tip != tips[0] {
		t.Fatalf("the first part is %+v, %v, want %+v", tip, err, tips[0])
	}
	if p.Key() != "streams/db/3-1/000000000001" || p.From != 1000 || p.To != 1100 || p.Previous != "" ||
		string(p.Begin) != `{"timeline":1}` || p.Incarnation != "a" || !p.Time.Equal(noon.Add(1100*time.Millisecond)) {
		t.Errorf("the first part is %+v", p)
	}
	if p, _, err = w.chain().Read(t.Context(), db, first, tips[1]); err != nil || p.Previous != tips[1].Digest {
		t.Errorf("the third part is %+v, %v", p, err)
	}
	if size := len(w.object(3)); size > 40000 {
		t.Errorf("a part of 38500 bytes that are no text takes %d", size)
	}
	if strings.Contains(string(w.object(1)), string(w.log[:16])) {
		t.Error("a part shows its log")
	}
}

func TestWhatIsNoPartIsNotWritten(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*stream.Part){
		"no log":            func(p *stream.Part) { p.Log = nil },
		"no way":            func(p *stream.Part) { p.To = 1000 },
		"backwards":         func(p *stream.Part) { p.To = 900 },
		"too much log":      func(p *stream.Part) { p.Log = make([]byte, stream.MaxLog+1) },
		"an end with a log": func(p *stream.Part) { p.End = &stream.End{} },
		"too long a header": func(p *stream.Part) { p.Begin = []byte(`"` + strings.Repeat("x", stream.MaxHeader) + `"`) },
		"no JSON":           func(p *stream.Part) { p.Begin = []byte(`{`) },
	} {
		p := w.part(start, 1100)
		change(&p)
		if _, err := w.chain().Append(t.Context(), start, p); err == nil {
			t.Errorf("%s: was written", name)
		}
	}
	cfg := w.config()
	cfg.Keys = nil
	if _, err := w.open(cfg).Append(t.Context(), start, w.part(start, 1100)); err == nil {
		t.Error("a log was written without data keys")
	}
	if keys := w.memory.Keys(); len(keys) != 0 {
		t.Errorf("the bucket has %q", keys)
	}
}

// Whatever the bucket does with one part, the stream is the source's log in the end.
func TestAnAnswerThatIsNotClearIsSettled(t *testing.T) {
	const key = "streams/db/3-1/000000000002"
	late, held := storetest.Delay()
	for name, faults := range map[string][]storetest.Fault{
		"the answer is lost":          {{Op: storetest.Conditional, Key: key, Do: storetest.LoseAnswer()}},
		"three answers are lost":      {{Op: storetest.Conditional, Key: key, Times: 3, Do: storetest.LoseAnswer()}},
		"nothing arrives for a while": {{Op: storetest.Conditional, Key: key, Times: 5, Do: storetest.Fail(blobstore.ErrUnknownOutcome)}},
		"the store is away":           {{Op: storetest.Conditional, Key: key, Times: 5, Do: storetest.Fail(blobstore.ErrUnavailable)}},
		"the write lands late":        {{Op: storetest.Conditional, Key: key, Do: late}},
		"412 to itself": {
			{Op: storetest.Conditional, Key: key, Do: storetest.LoseAnswer()},
			{Op: storetest.Get, Key: key, Times: 2, Do: storetest.Fail(blobstore.ErrUnavailable)}},
		"412, and then not there": {
			{Op: storetest.Conditional, Key: key, Do: storetest.LoseAnswer()},
			{Op: storetest.Get, Key: key, Times: 3, Do: storetest.Fail(blobstore.ErrNotFound)}},
		"412, and then denied": {
			{Op: storetest.Conditional, Key: key, Do: storetest.LoseAnswer()},
			{Op: storetest.Get, Key: key, Times: 3, Do: storetest.Fail(blobstore.ErrDenied)}},
		"412, and then a body that breaks off": {
			{Op: storetest.Conditional, Key: key, Do: storetest.LoseAnswer()},
			{Op: storetest.Get, Key: key, Times: 1, Do: storetest.ShortBody(9)}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				c := w.chain()
				tips := w.ship(c, start, 1100)
				w.store.Inject(faults...)
				w.ship(c, tips[0], 1500, 2000)
				w.wantLog(c, 2000)
				if name == "the write lands late" {
					if err := held.Land(t.Context()); !errors.Is(err, blobstore.ErrPrecondition) {
						t.Errorf("a write that was held: %v", err)
					}
					w.wantLog(c, 2000)
				}
			})
		})
	}
}

func TestAnAppendEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.store.Inject(storetest.Fault{Op: storetest.Conditional, Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrUnknownOutcome)})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := w.chain().Append(ctx, start, w.part(start, 1100))
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, blobstore.ErrUnknownOutcome) {
			t.Errorf("an append to a bucket that is away: %v", err)
		}
		if n := w.store.Count(storetest.Conditional); n < 500 || n > 1500 {
			t.Errorf("%d attempts in an hour", n)
		}
		w.store.Heal()
		w.store.Inject(storetest.Fault{Op: storetest.Conditional, Do: storetest.Fail(blobstore.ErrDenied)})
		if _, err := w.chain().Append(t.Context(), start, w.part(start, 1100)); !errors.Is(err, blobstore.ErrDenied) {
			t.Errorf("an append that is denied: %v", err)
		}
	})
}

// An earlier process of the host has cut the log otherwise.
func TestARestartAdoptsWhatWasShipped(t *testing.T) {
	w := newWorld(t)
	tips := w.ship(w.chain(), start, 1100, 1500, 3000)
	restarted := w.chain()

	same, err := restarted.Append(t.Context(), start, w.part(start, 1100))
	if err != nil || same != tips[0] {
		t.Errorf("the same log: %+v, %v", same, err)
	}
	p := w.part(same, 2500)
	p.Incarnation = "b"
	shorter, err := restarted.Append(t.Context(), same, p)
	if err != nil || shorter != tips[1] {
		t.Errorf("a part that ends sooner: %+v, %v", shorter, err)
	}
	_, err = restarted.Append(t.Context(), shorter, w.part(shorter, 2500))
	ahead := (*stream.AheadError)(nil)
	if !errors.As(err, &ahead) || ahead.Tip != tips[2] || ahead.Part.To != 3000 {
		t.Fatalf("a part that ends later: %v", err)
	}
	whole, err := restarted.Append(t.Context(), shorter, w.part(shorter, 3500))
	if err != nil || whole != tips[2] {
		t.Errorf("once the log is at hand: %+v, %v", whole, err)
	}
	w.ship(restarted, whole, 3500)
	w.wantLog(restarted, 3500)
}

func TestAnotherLogIsAFork(t *testing.T) {
	for name, change := range map[string]func(*stream.Part){
		"another byte":                      func(p *stream.Part) { p.Log = append([]byte{p.Log[0] + 1}, p.Log[1:]...) },
		"another last byte":                 func(p *stream.Part) { p.Log = append(p.Log[:len(p.Log)-1:len(p.Log)-1], p.Log[len(p.Log)-1]+1) },
		"another byte of a longer log":      func(p *stream.Part) { p.To, p.Log = 2000, append([]byte{7, 7}, make([]byte, 998)...) },
		"the same bytes at other places":    func(p *stream.Part) { p.To++ },
		"a longer log that ends no later":   func(p *stream.Part) { p.Log = append(p.Log[:len(p.Log):len(p.Log)], 1) },
		"a shorter log that ends no sooner": func(p *stream.Part) { p.Log = p.Log[:99] },
		"another beginning":                 func(p *stream.Part) { p.Begin = []byte(`{"timeline":2}`) },
	} {
		w := newWorld(t)
		tips := w.ship(w.chain(), start, 1100)
		p := w.part(start, 1100)
		p.Incarnation = "clone"
		change(&p)
		_, err := w.chain().Append(t.Context(), start, p)
		fork := (*stream.ForkedError)(nil)
		if !errors.As(err, &fork) || fork.Tip != tips[0] || fork.Incarnation != "a" {
			t.Errorf("%s: %v", name, err)
		}
		w.wantLog(w.chain(), 1100)
	}
}

func TestNothingIsAppendedBehindAnEnd(t *testing.T) {
	w := newWorld(t)
	tips := w.ship(w.chain(), start, 1100)
	_, end, err := w.chain().Close(t.Context(), tips[0], byPromoter("p"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []stream.Part{w.part(tips[0], 1500), {Source: db, Stream: first, Incarnation: "a", End: &stream.End{By: "a"}}} {
		_, err = w.chain().Append(t.Context(), tips[0], p)
		ended := (*stream.EndedError)(nil)
		if !errors.As(err, &ended) || ended.Tip != end || ended.End.Lease != "lease-p" {
			t.Errorf("an append behind the end: %v", err)
		}
	}
}

func TestTheActiveEndsItsStream(t *testing.T) {
	w := newWorld(t)
	tips := w.ship(w.chain(), start, 1100, 1500)
	p := stream.Part{Source: db, Stream: first, Incarnation: "a", Time: noon.Add(time.Hour), End: &stream.End{By: "a"}}
	if _, err := w.chain().Append(t.Context(), tips[0], p); !errors.As(err, new(*stream.AheadError)) {
		t.Errorf("an end before the log's: %v", err)
	}
	end, err := w.chain().Append(t.Context(), tips[1], p)
	if err != nil || end.To != 1500 || end.Sequence != 3 {
		t.Fatalf("the end is %+v, %v", end, err)
	}
	p.Time = noon.Add(2 * time.Hour) // it is not known that it was written
	if same, err := w.chain().Append(t.Context(), tips[1], p); err != nil || same != end {
		t.Errorf("once more: %+v, %v", same, err)
	}
	if _, tip, found := w.walk(w.chain()); found == nil || *found.End != *p.End || tip != end {
		t.Errorf("the stream ends with %+v, %+v", found, tip)
	}
}

func TestPartsAreLockedForAsLongAsTheyLive(t *testing.T) {
	w := newWorld(t)
	cfg := w.config()
	cfg.Lock = blobstore.Compliance
	w.ship(w.open(cfg), start, 1100)
	lock, err := w.memory.LockOf(t.Context(), stream.Key(db, first, 1))
	if want := (blobstore.Lock{Mode: blobstore.Compliance, Until: noon.Add(stream.Life + time.Second)}); err != nil || lock != want {
		t.Errorf("the lock is %+v, %v, want %+v", lock, err, want)
	}
}

// Who may write and not read is told so, and does not try for ever.
func TestANameThatIsTakenAndMayNotBeReadIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		tips := w.ship(w.chain(), start, 1100, 1500)
		w.store.Inject(storetest.Fault{Op: storetest.Get, Key: stream.Key(db, first, 2), Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrDenied)})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for name, err := range map[string]error{
			"append": func() error { _, err := w.chain().Append(ctx, tips[0], w.part(tips[0], 1500)); return err }(),
			"close":  func() error { _, _, err := w.chain().Close(ctx, tips[0], byPromoter("p")); return err }(),
		} {
			if !errors.Is(err, blobstore.ErrDenied) || ctx.Err() != nil {
				t.Errorf("%s: %v, want that it may not be read, soon (%v)", name, err, ctx.Err())
			}
		}
	})
}
