package stream_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

// fate is what a bad bucket does with calls, by chance.
type fate struct {
	mu     sync.Mutex
	random *rand.Rand
}

func (f *fate) intN(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.random.IntN(n)
}

// Read implements io.Reader.
func (f *fate) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range p {
		p[i] = byte(f.random.Uint32())
	}
	return len(p), nil
}

func (f *fate) pause() { <-time.After(time.Duration(f.intN(300)) * time.Millisecond) }

// strike is an Action.
func (f *fate) strike(ctx context.Context, c storetest.Call, do func(context.Context) error) error {
	f.pause()
	switch n := f.intN(10); {
	case n == 0:
		return storetest.LoseAnswer()(ctx, c, do)
	case n == 1:
		return storetest.Fail(blobstore.ErrUnavailable)(ctx, c, do)
	case n == 2 && c.Op == storetest.Get: // it does not show yet what is there
		return storetest.Fail(blobstore.ErrNotFound)(ctx, c, do)
	case n == 2: // it lands when nobody expects it any more
		late, held := storetest.Delay()
		err := late(ctx, c, do)
		go func() {
			<-time.After(time.Duration(f.intN(5000)) * time.Millisecond)
			_ = held.Land(context.WithoutCancel(ctx))
		}()
		return err
	}
	return do(ctx)
}

// writer ships a log as long as it can, in pieces that it cuts as it likes.
type writer struct {
	w         *world
	f         *fate
	log       []byte
	confirmed []stream.Tip
	err       error // why it stopped
}

func (a *writer) run(ctx context.Context, c *stream.Chain) {
	after, end := stream.Tip{To: start.To}, start.To+stream.Position(len(a.log))
	least := start.To
	for after.To < end {
		to := min(end, max(least, after.To+1+stream.Position(a.f.intN(400))))
		p := a.w.part(after, to)
		p.Log = a.log[after.To-start.To : to-start.To]
		tip, err := c.Append(ctx, after, p)
		var ahead *stream.AheadError
		switch {
		case errors.As(err, &ahead):
			least = ahead.Tip.To
		case err != nil:
			a.err = err
			return
		default:
			a.confirmed, after = append(a.confirmed, tip), tip
		}
	}
}

// An active, the same host started again, a clone of it whose log differs from some byte
// on, and two promoters: whatever the bucket does, there is one chain, everything that
// was confirmed is on it, and both promoters have the same end.
func TestOneChainWhoeverWrites(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			f := &fate{random: rand.New(rand.NewPCG(seed, 1))}
			w.random = f
			w.log = w.log[:5000]
			clone := slices.Clone(w.log)
			clone[f.intN(4000)]++
			w.store.Inject(storetest.Fault{Times: storetest.Forever, Do: f.strike})
			open := func() *stream.Chain {
				cfg := w.config()
				cfg.Store = blobstore.Retry(w.store, blobstore.RetryOptions{})
				return w.open(cfg)
			}
			writers := []*writer{{w: w, f: f, log: w.log}, {w: w, f: f, log: w.log}, {w: w, f: f, log: clone}}
			var ends [2]stream.Tip
			var all sync.WaitGroup
			for i, a := range writers {
				c := open()
				all.Go(func() {
					for range i {
						f.pause()
					}
					a.run(t.Context(), c)
				})
			}
			for i, who := range []string{"p", "q"} {
				c := open()
				all.Go(func() {
					for range 5 + 5*f.intN(5) {
						f.pause()
					}
					var err error
					if _, ends[i], err = c.Close(t.Context(), start, byPromoter(who)); err != nil {
						t.Errorf("seed %d: %s: %v", seed, who, err)
					}
				})
			}
			all.Wait()
			<-time.After(10 * time.Second) // what is still under way has landed
			w.store.Heal()
			w.check(seed, writers, ends, clone)
		})
	}
}

// check looks at what came of it.
func (w *world) check(seed uint64, writers []*writer, ends [2]stream.Tip, clone []byte) {
	c := w.chain()
	log, tip, end := w.walk(c)
	if end == nil || ends[0] != tip || ends[1] != tip {
		w.t.Fatalf("seed %d: the promoters ended with %+v, and the stream ends with %+v", seed, ends, tip)
	}
	if n := len(log); !bytes.Equal(log, w.log[:n]) && !bytes.Equal(log, clone[:n]) {
		w.t.Errorf("seed %d: the log on the chain is nobody's", seed)
	}
	chain := make(map[stream.Tip]bool)
	for after := start; after != tip; {
		_, next, err := c.Read(w.t.Context(), db, first, after)
		if err != nil {
			w.t.Fatal(err)
		}
		chain[next], after = true, next
	}
	for i, a := range writers {
		for _, confirmed := range a.confirmed {
			if !chain[confirmed] || confirmed == tip {
				w.t.Errorf("seed %d: writer %d was told that %+v is written, and it is not on the chain", seed, i, confirmed)
			}
			if to := confirmed.To - start.To; !bytes.Equal(a.log[:to], log[:to]) {
				w.t.Errorf("seed %d: writer %d was told that its log is written up to %d, and another one is", seed, i, confirmed.To)
			}
		}
		if a.err != nil && !errors.As(a.err, new(*stream.EndedError)) && !errors.As(a.err, new(*stream.ForkedError)) {
			w.t.Errorf("seed %d: writer %d: %v", seed, i, a.err)
		}
	}
}
