package shipping_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/seal/sealtest"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/shipping"
)

// database is a source whose log is bytes: a position is how many there are.
type database struct {
	source.Source

	mu        sync.Mutex
	log       []byte
	lost      int // bytes of it that are there no more
	grown     chan struct{}
	stopped   bool
	down      bool
	confirmed stream.Position
	sync      bool
	armed     bool
	held      *atomic.Int32 // by how many its log is received, if that is counted
	hangs     chan struct{} // until it is closed, the database answers nothing; nil: it answers
}

// answers waits until the database does.
func (d *database) answers() {
	d.mu.Lock()
	hangs := d.hangs
	d.mu.Unlock()
	if hangs != nil {
		<-hangs
	}
}

func (d *database) Sync() (bool, time.Duration) { return d.sync, 10 * time.Second }

func (d *database) Arm(context.Context) error {
	d.answers()
	d.change(func() { d.armed = true })
	return nil
}

func (d *database) Disarm(context.Context) (did bool, err error) {
	d.answers()
	d.change(func() { did, d.armed = d.armed, false })
	return did, nil
}

func newDatabase() *database { return &database{grown: make(chan struct{})} }

func (d *database) Name() string { return "db" }

// change changes it, and wakes who reads its log.
func (d *database) change(do func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do()
	close(d.grown)
	d.grown = make(chan struct{})
}

func (d *database) write(text string) { d.change(func() { d.log = append(d.log, text...) }) }

func (d *database) Start(context.Context, uint64) error { return nil }

// Stop writes a last record, as a server does.
func (d *database) Stop(context.Context) error {
	d.change(func() { d.log, d.stopped = append(d.log, "."...), true })
	return nil
}

func (d *database) OpenLog(_ context.Context, from *stream.Position) (source.Log, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := stream.Position(len(d.log))
	if from != nil {
		at = *from
	}
	switch {
	case d.down:
		return nil, errors.New("no connection")
	case int(at) < d.lost:
		return nil, source.ErrGap
	case d.held != nil && !d.held.CompareAndSwap(0, 1):
		return nil, errors.New("somebody else receives it")
	}
	return &log{d: d, begin: at, at: at}, nil
}

type log struct {
	d         *database
	begin, at stream.Position
}

func (l *log) Begin() (stream.Position, json.RawMessage) {
	return l.begin, json.RawMessage(`{"timeline":1}`)
}

func (l *log) Next(ctx context.Context) ([]byte, stream.Position, error) {
	for {
		l.d.mu.Lock()
		got, ended, grown := l.d.log[min(int(l.at), len(l.d.log)):], l.d.stopped, l.d.grown
		l.d.mu.Unlock()
		switch {
		case len(got) > 0:
			got = got[:min(len(got), stream.MaxLog/2)]
			l.at += stream.Position(len(got))
			return got, l.at, nil
		case ended:
			return nil, l.at, io.EOF
		}
		select {
		case <-ctx.Done():
			return nil, l.at, ctx.Err()
		case <-grown:
		}
	}
}

func (l *log) Confirm(p stream.Position) error {
	l.d.answers()
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	l.d.confirmed = p
	return nil
}

// Close takes a moment, as that of a connection does.
func (l *log) Close() error {
	if l.d.held != nil {
		<-time.After(10 * time.Millisecond)
		l.d.held.Store(0)
	}
	return nil
}

// world is an active's shippers, with a bucket.
type world struct {
	t        *testing.T
	memory   *storetest.Memory
	store    *storetest.Faulty
	chain    *stream.Chain
	db       *database
	shipping *shipping.Shipping
	begun    time.Time

	strict  bool
	unheard atomic.Bool

	mu       sync.Mutex
	posted   []ha.Event
	troubles map[string]string
}

func (w *world) Now() ha.Now {
	at := time.Since(w.begun)
	return ha.Now{Mono: at, Boot: at, Wall: time.Now()}
}
func (w *world) Boot() string { return "boot" }

func (w *world) Note(context.Context, event.Level, string, string, map[string]any) {}
func (w *world) Changed()                                                          {}
func (w *world) Trouble(_ context.Context, kind, key, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.troubles[kind+" "+key] = text
}

func (w *world) TroubleOver(_ context.Context, kind, key, _ string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.troubles, kind+" "+key)
}

func (w *world) trouble() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.troubles["streams db"]
}

func (w *world) post(ev ha.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.posted = append(w.posted, ev)
}

// heard is the newest event of a type.
func heard[E ha.Event](w *world) (last E, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ev := range w.posted {
		if e, ok := ev.(E); ok {
			last, n = e, n+1
		}
	}
	return last, n
}

// until gives the shippers so much longer.
func (w *world) until(d time.Duration) {
	now := w.Now()
	w.shipping.Until(ha.Now{Mono: now.Mono + d, Boot: now.Boot + d})
}

// process is another agent beside the same database and bucket.
func (w *world) process(incarnation string) {
	w.shipping = shipping.New(w.t.Context(), shipping.Config{
		Chain: w.chain, Sources: func() []source.Source { return []source.Source{w.db} }, Incarnation: incarnation,
		Every: time.Second, Clock: w, Post: w.post, Log: w,
		MayLift: func() bool { return !w.strict }, Unheard: w.unheard.Load,
	})
}

// test runs a test in a bubble of its own, in which an hour may be shipped.
func test(t *testing.T, do func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.NewChaCha8([32]byte{1})
		w := &world{t: t, memory: storetest.NewMemory(), db: newDatabase(), begun: time.Now(), troubles: map[string]string{}}
		w.store = storetest.NewFaulty(w.memory)
		keys, err := seal.NewDataKeys(random)
		if err != nil {
			t.Fatal(err)
		}
		w.chain, err = stream.Open(stream.Config{Store: w.store, Ring: sealtest.NewRing(t, random), Cluster: "c", Keys: &keys, Random: random, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		w.process("first")
		w.until(time.Hour)
		do(t, w)
		w.shipping.Stop()
		synctest.Wait()
	})
}

var of = ha.Stream{ID: stream.ID{Epoch: 3, N: 1}}

// ship ships the stream, and lets some time pass.
func (w *world) ship(s ha.Stream, d time.Duration) {
	w.shipping.Ship("db", s)
	w.pass(d)
}

func (w *world) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// shipped is the log in the bucket, and the end part, if there is one.
func (w *world) shipped(s ha.Stream) (log string, parts int, end *stream.End) {
	w.t.Helper()
	tip := stream.Tip{To: s.From}
	for {
		p, next, err := w.chain.Read(w.t.Context(), "db", s.ID, tip)
		switch {
		case errors.Is(err, stream.ErrNotYet):
			return log, parts, nil
		case err != nil:
			w.t.Fatal(err)
		case p.End != nil:
			return log, parts, p.End
		}
		log, parts, tip = log+string(p.Log), parts+1, next
	}
}

func (w *world) want(log string, confirmed int) {
	w.t.Helper()
	if got, _, _ := w.shipped(of); got != log || w.confirmed() != confirmed {
		w.t.Errorf("shipped %q, confirmed %d; want %q, %d", got, w.confirmed(), log, confirmed)
	}
}

func (w *world) confirmed() int {
	w.db.mu.Lock()
	defer w.db.mu.Unlock()
	return int(w.db.confirmed)
}

// A database that answers nothing, when it is told what is confirmed or that commits shall
// wait, keeps nobody waiting who says until when, asks how far it is, or stops it all: the
// machine does so in its loop.
func TestADatabaseThatHangsKeepsNobodyWaiting(t *testing.T) {
	for name, before := range map[string]func(w *world){
		"told what is confirmed": func(w *world) { w.db.write("a") },
		"asked to have commits wait": func(w *world) {
			w.db.sync = true
		},
		"asked to have commits wait no longer": func(w *world) {
			w.db.sync = true
			w.ship(of, time.Second)
			w.until(time.Second)
			w.db.write("a")
			w.pass(9 * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			test(t, func(t *testing.T, w *world) {
				before(w)
				hangs := make(chan struct{})
				w.db.change(func() { w.db.hangs = hangs })
				w.ship(of, 5*time.Second)
				done := make(chan struct{})
				go func() {
					w.until(time.Hour)
					w.shipping.Ship("db", of)
					w.shipping.Prepare("db")
					w.shipping.Shown()
					w.shipping.Stop()
					close(done)
				}()
				w.pass(time.Second)
				select {
				case <-done:
				default:
					t.Error("who says so waits for the database")
				}
				close(hangs)
				w.pass(time.Second)
			})
		})
	}
}

// What comes after a quiet time is shipped at once, what goes on once a second; a part is
// confirmed when it is there.
func TestALogIsShippedAsItIsWritten(t *testing.T) {
	test(t, func(_ *testing.T, w *world) {
		w.shipping.Prepare("db")
		w.pass(time.Millisecond)
		if ready, n := heard[ha.StreamReady](w); n != 1 || ready.From != 0 {
			t.Fatalf("ready %+v, %d times", ready, n)
		}
		w.ship(of, time.Second)
		w.db.write("a")
		w.pass(50 * time.Millisecond)
		w.want("a", 1)
		for range 30 {
			w.db.write("b")
			w.pass(100 * time.Millisecond)
		}
		w.pass(time.Second)
		log, parts, _ := w.shipped(of)
		if tip, _ := heard[ha.Shipped](w); len(log) != 31 || parts < 4 || parts > 5 || w.confirmed() != 31 || tip.Tip.To != 31 || int(tip.Tip.Sequence) != parts {
			t.Errorf("%q in %d parts; %+v", log, parts, tip)
		}
	})
}

// A bucket that takes long for each part is given the next one as soon as it is due, and
// not a second after it has answered.
func TestASlowBucketIsNotWaitedForTwice(t *testing.T) {
	test(t, func(t *testing.T, w *world) {
		w.store.Inject(storetest.Fault{Op: storetest.Conditional, Times: storetest.Forever, Do: func(ctx context.Context, _ storetest.Call, do func(context.Context) error) error {
			<-time.After(800 * time.Millisecond)
			return do(ctx)
		}})
		w.ship(of, time.Second)
		for range 300 {
			w.db.write("b")
			w.pass(100 * time.Millisecond)
		}
		if _, parts, _ := w.shipped(of); parts < 28 {
			t.Errorf("%d parts in 30 seconds", parts)
		}
	})
}

// More than a part holds is cut into parts.
func TestALongLogIsCutIntoParts(t *testing.T) {
	test(t, func(t *testing.T, w *world) {
		long := make([]byte, 3*stream.MaxLog)
		w.db.write(string(long))
		w.ship(of, 10*time.Second)
		if log, parts, _ := w.shipped(of); log != string(long) || parts != 3 || w.confirmed() != len(long) {
			t.Errorf("%d bytes in %d parts, confirmed %d", len(log), parts, w.confirmed())
		}
	})
}

// Nothing is appended, and nothing confirmed, once the time is over for which the head was
// confirmed, until it is confirmed again.
func TestNothingIsConfirmedWithoutAHead(t *testing.T) {
	test(t, func(_ *testing.T, w *world) {
		w.ship(of, time.Second)
		w.until(10 * time.Second)
		w.db.write("a")
		w.pass(time.Second)
		w.want("a", 1)
		w.pass(9 * time.Second)
		w.db.write("b")
		w.pass(time.Minute)
		w.want("a", 1)
		w.until(time.Minute)
		w.pass(time.Second)
		w.want("ab", 2)
		w.shipping.Stop()
		w.db.write("c")
		w.pass(time.Minute)
		w.want("ab", 2)
	})
}

// Of a stream that no backup leads up to nothing is confirmed until one does.
func TestNothingIsConfirmedOfAStreamWithoutABase(t *testing.T) {
	test(t, func(_ *testing.T, w *world) {
		unbased := of
		unbased.Unbased = true
		w.ship(unbased, time.Second)
		w.db.write("a")
		w.pass(time.Second)
		w.want("a", 0)
		w.ship(of, time.Second)
		w.db.write("b")
		w.pass(2 * time.Second)
		w.want("ab", 2)
	})
}

// A process goes on over what the one before has shipped, however much of that the head
// names.
func TestAProcessGoesOnOverWhatWasShippedBefore(t *testing.T) {
	test(t, func(t *testing.T, w *world) {
		w.ship(of, time.Second)
		for _, text := range []string{"a", "b", "c"} {
			w.db.write(text)
			w.pass(2 * time.Second)
		}
		w.shipping.Stop()
		w.db.write("d")
		w.process("second")
		w.until(time.Hour)
		w.ship(of, 10*time.Second)
		w.want("abcd", 4)
		if _, parts, _ := w.shipped(of); parts != 4 {
			t.Errorf("%d parts", parts)
		}
	})
}

// What another has put into the stream is no log of this host's.
func TestAnotherLogIsToldAsAFork(t *testing.T) {
	test(t, func(t *testing.T, w *world) {
		if _, err := w.chain.Append(t.Context(), stream.Tip{}, stream.Part{
			Source: "db", Stream: of.ID, Incarnation: "clone", To: 1, Time: time.Now(), Begin: json.RawMessage(`{"timeline":1}`), Log: []byte("x"),
		}); err != nil {
			t.Fatal(err)
		}
		w.db.write("a")
		w.ship(of, time.Minute)
		if fork, n := heard[ha.StreamForked](w); n != 1 || fork.Incarnation != "clone" || w.confirmed() != 0 || w.trouble() == "" {
			t.Errorf("%+v, %d times; confirmed %d; trouble %q", fork, n, w.confirmed(), w.trouble())
		}
	})
}

// An end part is met by the next write, and by an idle stream with the next heartbeat.
func TestAnEndPartIsTold(t *testing.T) {
	for name, meet := range map[string]func(w *world){
		"a write":     func(w *world) { w.db.write("b") },
		"a heartbeat": func(w *world) { w.until(time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			test(t, func(t *testing.T, w *world) {
				w.ship(of, time.Second)
				w.db.write("a")
				w.pass(2 * time.Second)
				_, end, err := w.chain.Close(t.Context(), stream.Tip{}, stream.Part{Source: "db", Stream: of.ID, Incarnation: "p", End: &stream.End{Lease: "l"}})
				if err != nil {
					t.Fatal(err)
				}
				meet(w)
				w.pass(2 * time.Second)
				if closed, n := heard[ha.StreamClosed](w); n != 1 || closed.Tip != end || closed.End.Lease != "l" || w.confirmed() != 1 {
					t.Fatalf("%+v, %d times; confirmed %d", closed, n, w.confirmed())
				}
				w.ship(of, time.Second) // the head names it still
				w.shipping.Prepare("db")
				w.pass(time.Second)
				if ready, _ := heard[ha.StreamReady](w); ready.From != 1 || ready.Gap {
					t.Errorf("the next one begins at %d, gap %v", ready.From, ready.Gap)
				}
			})
		})
	}
}

// A handover ships what is left, the server's last word too, and closes the stream.
func TestAStreamIsClosedWithAllOfItsLog(t *testing.T) {
	test(t, func(t *testing.T, w *world) {
		w.ship(of, time.Second)
		w.db.write("a")
		w.pass(100 * time.Millisecond)
		w.db.write("b")
		begun := time.Now()
		ends, err := w.shipping.Close(t.Context(), map[string]ha.Stream{"db": of}, stream.End{By: "first"})
		if end := ends["db"]; err != nil || !end.Closed || end.Tip.To != 3 || time.Since(begun) > 100*time.Millisecond {
			t.Fatalf("%+v, %v, after %v", ends, err, time.Since(begun))
		}
		if log, _, end := w.shipped(of); log != "ab." || end == nil || end.By != "first" || w.confirmed() != 3 {
			t.Errorf("shipped %q, end %+v, confirmed %d", log, end, w.confirmed())
		}
		if _, n := heard[ha.StreamClosed](w); n != 0 {
			t.Error("what was asked for was told as somebody else's")
		}
	})
}

// A stream that cannot be closed whole is not said to be.
func TestAStreamThatCannotBeShippedIsNotClosed(t *testing.T) {
	test(t, func(t *testing.T, w *world) {
		w.db.change(func() { w.db.down = true })
		w.ship(of, time.Second)
		if ends, err := w.shipping.Close(t.Context(), map[string]ha.Stream{"db": of}, stream.End{}); err == nil || len(ends) > 0 {
			t.Errorf("%+v, %v", ends, err)
		}
		if _, err := w.shipping.Close(t.Context(), map[string]ha.Stream{"other": of}, stream.End{}); err == nil {
			t.Error("a source that is not shipped was closed")
		}
	})
}

// A handover that has failed closes nothing afterwards: the stream goes on, and a server
// that stops later has not ended it.
func TestAFailedCloseIsForgotten(t *testing.T) {
	test(t, func(t *testing.T, w *world) {
		w.ship(of, time.Second)
		w.db.write("a")
		w.pass(time.Second)
		w.until(time.Millisecond)
		w.pass(time.Second)
		if ends, err := w.shipping.Close(t.Context(), map[string]ha.Stream{"db": of}, stream.End{By: "first"}); err == nil || len(ends) > 0 {
			t.Fatalf("%+v, %v", ends, err)
		}
		w.until(time.Hour)
		w.db.change(func() { w.db.stopped = false }) // it was started again
		w.ship(of, time.Second)
		w.db.write("b")
		w.pass(2 * time.Second)
		w.want("a.b", 3)
		w.db.change(func() { w.db.stopped = true })
		w.pass(time.Minute)
		if _, _, end := w.shipped(of); end != nil {
			t.Errorf("the stream was ended: %+v", end)
		}
	})
}

// A bucket that does not answer, and a server that is down, are a trouble until they are
// back; nothing is lost.
func TestATroubleIsToldUntilItIsOver(t *testing.T) {
	test(t, func(t *testing.T, w *world) {
		w.db.change(func() { w.db.down = true })
		w.ship(of, time.Minute)
		if w.trouble() == "" {
			t.Error("a server that is down was not told")
		}
		w.db.write("a")
		w.db.change(func() { w.db.down = false })
		w.pass(time.Minute)
		if w.want("a", 1); w.trouble() != "" {
			t.Errorf("told still: %s", w.trouble())
		}
	})
}

// Where the source has lost its log, the stream ends, and the next one begins anew.
func TestAGapEndsTheStream(t *testing.T) {
	test(t, func(t *testing.T, w *world) {
		w.db.write("abc")
		w.db.lost = 2
		w.ship(of, time.Minute)
		closed, n := heard[ha.StreamClosed](w)
		if _, _, end := w.shipped(of); n != 1 || closed.Tip.To != 0 || end == nil || end.By != "first" {
			t.Fatalf("%+v, %d times; end %+v", closed, n, end)
		}
		w.shipping.Prepare("db")
		w.pass(time.Second)
		if ready, _ := heard[ha.StreamReady](w); ready.From != 3 || !ready.Gap {
			t.Errorf("the next one begins at %d, gap %v", ready.From, ready.Gap)
		}
	})
}

// A process that finds its log gone ends the stream behind what the one before has shipped,
// however much of that the head names.
func TestAGapIsBehindWhatWasShippedBefore(t *testing.T) {
	test(t, func(t *testing.T, w *world) {
		w.ship(of, time.Second)
		for _, text := range []string{"a", "b"} {
			w.db.write(text)
			w.pass(2 * time.Second)
		}
		w.shipping.Stop()
		w.db.write("cd")
		w.db.change(func() { w.db.lost = 3 })
		w.process("second")
		w.until(time.Hour)
		w.ship(of, 10*time.Second)
		closed, n := heard[ha.StreamClosed](w)
		if log, _, end := w.shipped(of); n != 1 || closed.Tip.To != 2 || log != "ab" || end == nil || end.By != "second" {
			t.Errorf("%+v, %d times; %q, end %+v", closed, n, log, end)
		}
	})
}

// shown is what people see of the source.
func (w *world) shown() shipping.Shown {
	w.t.Helper()
	all := w.shipping.Shown()
	if len(all) != 1 {
		w.t.Fatalf("shown: %+v", all)
	}
	return all[0]
}

// behind is for how long log has been read that is not known to be in the bucket; false: it
// is not known.
func (w *world) behind() (time.Duration, bool) {
	upTo := w.shown().UpTo
	return w.Now().Wall.Sub(upTo), !upTo.IsZero()
}

// What a failover would lose is told by what was looked at: nothing before the log has been
// read for a while, all since the oldest that was read and is not in the bucket, and nothing
// once all of it is, though nothing more is written.
func TestHowOldTheRecoveryPointIsIsKnown(t *testing.T) {
	test(t, func(t *testing.T, w *world) {
		if s := w.shown(); s.Source != "db" || !s.Stream.IsZero() || !s.UpTo.IsZero() || s.Ships {
			t.Errorf("before it is shipped: %+v", s)
		}
		w.ship(of, time.Millisecond)
		if _, known := w.behind(); known || w.shown().Ships {
			t.Errorf("what had gathered before is not known yet: %+v", w.shown())
		}
		w.pass(time.Second)
		w.until(time.Hour) // an idle stream is looked at
		w.pass(time.Minute)
		if age, known := w.behind(); !known || age != 0 || !w.shown().Ships || !w.shown().Confirmed {
			t.Errorf("idle: %v old, %+v", age, w.shown())
		}
		w.db.write("a")
		w.pass(time.Second)
		if age, _ := w.behind(); age != 0 || w.shown().Tip.To != 1 {
			t.Errorf("shipped: %v old, %+v", age, w.shown())
		}

		w.until(0) // the bucket does not answer
		w.db.write("b")
		w.pass(time.Minute)
		w.db.write("c")
		if age, _ := w.behind(); age != time.Minute {
			t.Errorf("nothing is shipped, and it is %v old", age)
		}
		w.until(time.Hour)
		w.pass(2 * time.Second)
		if age, _ := w.behind(); age != 0 {
			t.Errorf("shipped again, and %v old", age)
		}
		if c := w.shipping.Counts()["db"]; c.Bytes != 3 || c.Parts < 2 || c.Gaps != 0 {
			t.Errorf("%+v", c)
		}
	})
}

// While the log cannot be read, what is known grows old; a gap is counted.
func TestWhatCannotBeReadGrowsOld(t *testing.T) {
	test(t, func(t *testing.T, w *world) {
		w.ship(of, 2*time.Second)
		w.until(time.Hour)
		w.db.write("a")
		w.pass(time.Second)
		w.db.change(func() { w.db.down, w.db.stopped = true, true })
		w.pass(time.Minute)
		if age, known := w.behind(); !known || age != time.Minute || w.shown().Ships || w.shown().Error == "" || w.trouble() == "" {
			t.Errorf("%v old, %+v, %q", age, w.shown(), w.trouble())
		}
		w.db.change(func() { w.db.down, w.db.stopped, w.db.lost = false, false, 2 })
		w.pass(time.Minute)
		if c := w.shipping.Counts()["db"]; c.Gaps != 1 {
			t.Errorf("%+v", c)
		}
		if s := w.shown(); !s.Stream.IsZero() || !s.UpTo.IsZero() {
			t.Errorf("after a gap: %+v", s)
		}
	})
}

// An idle stream that is based by now is confirmed, and a trouble that is over is not told
// any more, though nothing is written.
func TestAnIdleStreamIsConfirmed(t *testing.T) {
	test(t, func(t *testing.T, w *world) {
		unbased := of
		unbased.Unbased = true
		w.db.write("a")
		w.ship(unbased, 2*time.Second)
		if s := w.shown(); s.Based || s.Confirmed {
			t.Errorf("%+v", s)
		}
		w.ship(of, time.Second)
		w.until(time.Hour)
		w.pass(time.Second)
		w.want("a", 1)
		if s := w.shown(); !s.Based || !s.Confirmed {
			t.Errorf("%+v", s)
		}
	})
}

// waits reports whether commits wait for the bucket.
func (w *world) waits() bool {
	w.db.mu.Lock()
	defer w.db.mu.Unlock()
	return w.db.armed
}

// With sync, commits wait as soon as the stream is shipped, and each part goes at once.
func TestWithSyncCommitsWaitForTheBucket(t *testing.T) {
	test(t, func(t *testing.T, w *world) {
		w.db.sync = true
		unbased := of
		unbased.Unbased = true
		w.ship(unbased, time.Second)
		if w.waits() {
			t.Error("commits wait for what is not confirmed")
		}
		w.ship(of, time.Second)
		w.db.write("a")
		w.pass(10 * time.Millisecond)
		if w.want("a", 1); !w.waits() {
			t.Error("commits do not wait")
		}
		for range 10 {
			w.db.write("b")
			w.pass(10 * time.Millisecond)
		}
		w.want("abbbbbbbbbb", 11)
	})
}

// A bucket that does not answer is waited for as long as patience lasts, where the fencing
// lets an active go on without it; then commits wait no longer, which is a trouble, until
// it answers.
func TestPatienceEndsWithTheBucketAway(t *testing.T) {
	for _, strict := range []bool{false, true} {
		test(t, func(t *testing.T, w *world) {
			w.db.sync, w.strict = true, strict
			w.ship(of, time.Second)
			w.db.write("a")
			w.pass(time.Second)
			w.until(time.Second)
			w.pass(time.Hour)
			if !w.waits() {
				t.Fatal("commits do not wait, though nothing was written")
			}
			w.db.write("b")
			w.pass(9 * time.Second)
			if !w.waits() {
				t.Error("patience ended too soon")
			}
			w.pass(2 * time.Second)
			told := w.syncTrouble()
			if w.waits() != strict || (told != "") == strict {
				t.Errorf("strict %v: commits wait: %v; %q", strict, w.waits(), told)
			}
			w.until(time.Hour)
			w.pass(time.Minute)
			told = w.syncTrouble()
			if w.want("ab", 2); !w.waits() || told != "" {
				t.Errorf("strict %v: it answers again; commits wait: %v; %q", strict, w.waits(), told)
			}
		})
	}
}

// syncTrouble is what people are told of commits that do not wait.
func (w *world) syncTrouble() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.troubles["streams db sync"]
}

// Commits that an earlier process had wait go on as this process's own do, whatever keeps it
// from confirming anything; where there are none, nothing is told.
func TestPatienceEndsForCommitsThatAnEarlierProcessHadWait(t *testing.T) {
	unbased := of
	unbased.Unbased = true
	for name, begin := range map[string]func(w *world){
		"the bucket was never heard of": func(w *world) { w.unheard.Store(true) },
		"no head is in force":           func(w *world) { w.until(0); w.shipping.Ship("db", of) },
		"no backup leads up to it":      func(w *world) { w.refuses(); w.db.write("a"); w.shipping.Ship("db", unbased) },
	} {
		for _, is := range []struct{ armed, strict bool }{{true, false}, {true, true}, {false, false}} {
			test(t, func(t *testing.T, w *world) {
				w.db.sync, w.db.armed, w.strict = true, is.armed, is.strict
				ctx, end := context.WithCancel(t.Context())
				defer end()
				go func() { _ = w.shipping.Run(ctx) }()
				begin(w)
				if w.pass(9 * time.Second); w.waits() != is.armed || w.syncTrouble() != "" {
					t.Errorf("%s, %+v: commits wait: %v; %q", name, is, w.waits(), w.syncTrouble())
				}
				w.pass(2 * time.Second)
				if lifted := is.armed && !is.strict; w.waits() == lifted && is.armed || (w.syncTrouble() != "") != lifted {
					t.Errorf("%s, %+v: after its patience commits wait: %v; %q", name, is, w.waits(), w.syncTrouble())
				}
				w.unheard.Store(false)
				w.store.Heal()
				w.until(time.Hour)
				w.ship(of, time.Minute)
				if !w.waits() || w.syncTrouble() != "" {
					t.Errorf("%s, %+v: it answers again; commits wait: %v; %q", name, is, w.waits(), w.syncTrouble())
				}
			})
		}
	}
}

// refuses has the bucket refuse everything, until its store is healed.
func (w *world) refuses() {
	w.store.Inject(storetest.Fault{Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrUnavailable)})
}

// A bucket that answers ends no patience, though nothing can be confirmed yet.
func TestABucketThatAnswersEndsNoPatience(t *testing.T) {
	test(t, func(t *testing.T, w *world) {
		w.db.sync, w.db.armed = true, true
		unbased := of
		unbased.Unbased = true
		w.ship(unbased, time.Minute)
		w.db.write("a")
		w.pass(time.Minute)
		if !w.waits() || w.syncTrouble() != "" {
			t.Errorf("commits wait: %v; %q", w.waits(), w.syncTrouble())
		}
	})
}

// Another source of the same name comes into force: its log is received once nobody else
// receives it.
func TestAnotherSourceOfTheNameGoesOn(t *testing.T) {
	test(t, func(t *testing.T, w *world) {
		w.db.held = new(atomic.Int32)
		w.ship(of, time.Second)
		next := newDatabase()
		next.held, next.sync = w.db.held, true
		w.db = next
		if w.ship(of, 100*time.Millisecond); !w.waits() || w.trouble() != "" {
			t.Errorf("commits wait: %v; trouble %q", w.waits(), w.trouble())
		}
		w.shipping.Stop()
		w.pass(time.Second)
	})
}

// An end part ends no patience: a successor may have taken over, and what commits now it
// does not have.
func TestAnEndPartEndsNoPatience(t *testing.T) {
	test(t, func(t *testing.T, w *world) {
		w.db.sync = true
		w.ship(of, time.Second)
		w.db.write("a")
		w.pass(time.Second)
		if _, _, err := w.chain.Close(t.Context(), stream.Tip{}, stream.Part{Source: "db", Stream: of.ID, Incarnation: "p", End: &stream.End{Lease: "l"}}); err != nil {
			t.Fatal(err)
		}
		w.db.write("b")
		w.pass(time.Hour)
		if !w.waits() || w.confirmed() != 1 {
			t.Errorf("commits wait: %v; confirmed %d", w.waits(), w.confirmed())
		}
	})
}

// A source that cannot say where a stream can begin is asked again.
func TestASourceIsAskedAgainWhereAStreamCanBegin(t *testing.T) {
	test(t, func(t *testing.T, w *world) {
		w.db.down = true
		w.shipping.Prepare("db")
		w.pass(time.Minute)
		if _, n := heard[ha.StreamReady](w); n != 0 || w.trouble() == "" {
			t.Errorf("ready %d times; trouble %q", n, w.trouble())
		}
		w.db.change(func() { w.db.down = false })
		w.pass(time.Minute)
		if _, n := heard[ha.StreamReady](w); n != 1 {
			t.Errorf("ready %d times", n)
		}
	})
}
