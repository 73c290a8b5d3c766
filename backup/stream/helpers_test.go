package stream_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/seal/sealtest"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

const db = "db"

var (
	first = stream.ID{Epoch: 3, N: 1}
	start = stream.Tip{To: 1000}
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// world is a bucket, with what is needed to write streams to it.
type world struct {
	t      testing.TB
	memory *storetest.Memory
	store  *storetest.Faulty
	random io.Reader
	ring   *seal.Ring
	keys   seal.DataKeys
	now    time.Time
	log    []byte // of the source, from position 1000 on: a byte is a position
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, memory: storetest.NewMemory(), random: &lockedReader{r: rand.NewChaCha8([32]byte{1})}, now: noon}
	w.memory.Now = func() time.Time { return w.now }
	w.store = storetest.NewFaulty(w.memory)
	w.ring = sealtest.NewRing(t, w.random)
	var err error
	if w.keys, err = seal.NewDataKeys(w.random); err != nil {
		t.Fatal(err)
	}
	w.log = make([]byte, 64<<10)
	_, _ = io.ReadFull(w.random, w.log)
	return w
}

// config is of a process that writes.
func (w *world) config() stream.Config {
	return stream.Config{
		Store: w.store, Ring: w.ring, Cluster: "c-1", Keys: &w.keys, Random: w.random,
		Now: func() time.Time { return w.now },
	}
}

func (w *world) open(cfg stream.Config) *stream.Chain {
	w.t.Helper()
	c, err := stream.Open(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) chain() *stream.Chain { return w.open(w.config()) }

// part is the log up to a position, of the part that follows a tip.
func (w *world) part(after stream.Tip, to stream.Position) stream.Part {
	return stream.Part{
		Source: db, Stream: first, Incarnation: "a", To: to, Time: noon.Add(time.Duration(to) * time.Millisecond),
		Begin: []byte(`{ "timeline": 1 }`), Log: w.log[after.To-start.To : to-start.To],
	}
}

// ship appends the log in parts that end at these positions, and returns the tips.
func (w *world) ship(c *stream.Chain, after stream.Tip, ends ...stream.Position) []stream.Tip {
	w.t.Helper()
	var tips []stream.Tip
	for _, to := range ends {
		tip, err := c.Append(w.t.Context(), after, w.part(after, to))
		if err != nil {
			w.t.Fatal(err)
		}
		tips, after = append(tips, tip), tip
	}
	return tips
}

func byPromoter(who string) stream.Part {
	return stream.Part{Source: db, Stream: first, Incarnation: who, End: &stream.End{Lease: "lease-" + who, Head: "41", By: who}}
}

// walk reads a stream from its start on: its log, and the end part if there is one.
func (w *world) walk(c *stream.Chain) (log []byte, tip stream.Tip, end *stream.Part) {
	w.t.Helper()
	tip = start
	for {
		p, next, err := c.Read(w.t.Context(), db, first, tip)
		switch {
		case errors.Is(err, stream.ErrNotYet):
			return log, tip, nil
		case err != nil:
			w.t.Fatal(err)
		case p.End != nil:
			return log, next, &p
		}
		log, tip = append(log, p.Log...), next
	}
}

// wantLog checks that the stream holds the source's log up to a position.
func (w *world) wantLog(c *stream.Chain, to stream.Position) stream.Tip {
	w.t.Helper()
	log, tip, _ := w.walk(c)
	if tip.To != to || !bytes.Equal(log, w.log[:to-start.To]) {
		w.t.Errorf("the stream goes up to %d with %d bytes, want %d and the source's log", tip.To, len(log), to)
	}
	return tip
}

// object is what lies under a part's name.
func (w *world) object(sequence uint64) []byte {
	w.t.Helper()
	body, _, err := blobstore.ReadAll(w.t.Context(), w.memory, stream.Key(db, first, sequence), 8<<20)
	if err != nil {
		w.t.Fatal(err)
	}
	return body
}

func (w *world) put(sequence uint64, object []byte) {
	w.t.Helper()
	if _, err := w.memory.Put(context.WithoutCancel(w.t.Context()), stream.Key(db, first, sequence), object, blobstore.Always); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remove(sequences ...uint64) {
	w.t.Helper()
	for _, sequence := range sequences {
		if err := w.memory.Delete(w.t.Context(), stream.Key(db, first, sequence)); err != nil {
			w.t.Fatal(err)
		}
	}
}

// lockedReader is a source of randomness for several goroutines.
type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

// Read implements io.Reader.
func (l *lockedReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}
