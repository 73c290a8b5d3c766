package stream_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/seal/sealtest"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

// What lies in the place of a part, and what is said of it.
func TestAPartThatIsNotGoodIsRefusedByName(t *testing.T) {
	flip := func(at int) func(*world) []byte {
		return func(w *world) []byte {
			object := w.object(2)
			if at < 0 {
				at += len(object)
			}
			object[at] ^= 1
			return object
		}
	}
	cut := func(share float64) func(*world) []byte {
		return func(w *world) []byte { o := w.object(2); return o[:int(share*float64(len(o)))] }
	}
	ofFormat := func(format uint16) func(*world) []byte {
		return func(w *world) []byte {
			object := w.object(2)
			binary.LittleEndian.PutUint16(object[6:], format)
			return object
		}
	}
	// from is the object in the same place of another stream.
	from := func(change func(*stream.Config, *stream.Part)) func(*world) []byte {
		return func(w *world) []byte {
			other := storetest.NewMemory()
			cfg, p := w.config(), w.part(stream.Tip{To: 1100, Sequence: 1}, 1500)
			cfg.Store = other
			change(&cfg, &p)
			after := stream.Tip{Sequence: 1, To: 1100, Digest: strings.Repeat("0", 64)}
			if _, err := w.open(cfg).Append(w.t.Context(), after, p); err != nil {
				w.t.Fatal(err)
			}
			body, _, err := blobstore.ReadAll(w.t.Context(), other, other.Keys()[0], 1<<20)
			if err != nil {
				w.t.Fatal(err)
			}
			return body
		}
	}
	tests := []struct {
		name   string
		object func(*world) []byte
		kind   error
		says   string
	}{
		{"the first byte changed", flip(0), stream.ErrDamaged, "does not begin as a part does"},
		{"a byte of the header changed", flip(200), seal.ErrSignature, "signature does not hold"},
		{"the last byte changed", flip(-1), stream.ErrDamaged, "its log was changed or cut short"},
		{"cut short by one", func(w *world) []byte { o := w.object(2); return o[:len(o)-1] }, stream.ErrDamaged, "its log was changed or cut short"},
		{"longer by one", func(w *world) []byte { return append(w.object(2), 0) }, stream.ErrDamaged, "its log was changed or cut short"},
		{"cut short in the header", cut(.1), stream.ErrDamaged, "it was cut short"},
		{"empty", cut(0), stream.ErrDamaged, "it was cut short"},
		{"longer than any part", func(*world) []byte { return make([]byte, 5<<20) }, stream.ErrDamaged, "allowed"},
		{"of a newer release", ofFormat(2), stream.ErrFormat, "upgrade Understudy here"},
		{"of an older release", ofFormat(0), stream.ErrFormat, "format 0"},
		{"the part behind it", func(w *world) []byte { return w.object(3) }, seal.ErrScope, "it was copied or moved inside the bucket"},
		{"the part before it", func(w *world) []byte { return w.object(1) }, seal.ErrScope, "it was copied or moved inside the bucket"},
		{"of another cluster", from(func(c *stream.Config, _ *stream.Part) { c.Cluster = "c-2" }), seal.ErrScope, "another cluster"},
		{"of another source", from(func(_ *stream.Config, p *stream.Part) { p.Source = "other" }), seal.ErrScope, "moved"},
		{"of another stream", from(func(_ *stream.Config, p *stream.Part) { p.Stream.N++ }), seal.ErrScope, "moved"},
		{"by another key", from(func(c *stream.Config, _ *stream.Part) { c.Ring = sealtest.NewRing(t, c.Random) }), seal.ErrUnknownKey, "paste the cluster's key"},
		{"of another chain", from(func(*stream.Config, *stream.Part) {}), stream.ErrBroken, "follows another part"},
		{"with an end and a log", func(w *world) []byte { return w.forge(`{"from":1100,"to":1100,"end":{},"log":{"size":1}}`) }, stream.ErrDamaged, "ends the stream, and has a log"},
		{"with nothing", func(w *world) []byte { return w.forge(`{"from":1100,"to":1100}`) }, stream.ErrDamaged, "neither"},
		{"that goes back", func(w *world) []byte { return w.forge(`{"from":1100,"to":1000,"log":{"size":1}}`) }, stream.ErrDamaged, "from position 1100 to 1000"},
		{"with a log of no size", func(w *world) []byte { return w.forge(`{"from":1100,"to":1200,"log":{}}`) }, stream.ErrDamaged, "0 bytes"},
		{"that has no JSON", func(w *world) []byte { return w.forge(`[]`) }, stream.ErrDamaged, "its header cannot be read"},
		{"an end with something behind it", func(w *world) []byte { return append(w.forge(`{"from":1100,"to":1100,"end":{}}`), 'x') }, stream.ErrDamaged, "something follows its end"},
	}
	for _, tt := range tests {
		w := newWorld(t)
		c := w.chain()
		tips := w.ship(c, start, 1100, 1500, 3000)
		w.put(2, tt.object(w))
		_, _, err := c.Read(t.Context(), db, first, tips[0])
		if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "streams/db/3-1/000000000002") {
			t.Errorf("a part %s: %v", tt.name, err)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("a part %s: %v has several lines", tt.name, err)
		}
		// An active does not go on over it either.
		if _, err := c.Append(t.Context(), tips[0], w.part(tips[0], 1500)); !errors.Is(err, tt.kind) {
			t.Errorf("an append to a part %s: %v", tt.name, err)
		}
	}
}

// A bucket that is gone, or a part in an archive tier, says nothing of what is in the
// part: nobody is to be told to do without the log.
func TestARefusalIsNoDamage(t *testing.T) {
	w := newWorld(t)
	c := w.chain()
	tips := w.ship(c, start, 1100, 1500, 3000)
	w.store.Inject(storetest.Fault{Op: storetest.Get, Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrInvalid)})
	for name, read := range map[string]func() error{
		"read":       func() error { _, _, err := c.Read(t.Context(), db, first, tips[0]); return err },
		"read known": func() error { _, _, err := c.ReadKnown(t.Context(), db, first, tips[0], tips[2]); return err },
		"find":       func() error { _, err := c.Find(t.Context(), db, first, 1200, tips[2]); return err },
		"check":      func() error { _, err := c.Check(t.Context(), db, first, 1000, tips[2]); return err },
		"close": func() error {
			_, _, err := c.Close(t.Context(), tips[2], stream.Part{Source: db, Stream: first, Incarnation: "b", End: &stream.End{}})
			return err
		},
	} {
		err := read()
		for _, kind := range []error{stream.ErrDamaged, stream.ErrBroken, stream.ErrNotYet, stream.ErrGone, stream.ErrBelow} {
			if !errors.Is(err, blobstore.ErrInvalid) || errors.Is(err, kind) {
				t.Errorf("%s what the store refuses: %v", name, err)
			}
		}
	}
}

// forge makes the second part of a header that no writer makes, signed by the cluster's
// key, as a release with a mistake in it might.
func (w *world) forge(payload string) []byte {
	w.t.Helper()
	signed, err := w.ring.Sign(seal.Scope{Type: "part", Cluster: "c-1", Object: stream.Key(db, first, 2)}, []byte(payload))
	if err != nil {
		w.t.Fatal(err)
	}
	object := append([]byte("USPART\x01\x00"), binary.LittleEndian.AppendUint32(nil, uint32(len(signed)))...)
	return append(object, signed...)
}

func TestAGapIsSeen(t *testing.T) {
	w := newWorld(t)
	c := w.chain()
	tips := w.ship(c, start, 1100, 1500, 3000)
	w.remove(2)
	if _, _, err := c.Read(t.Context(), db, first, tips[0]); !errors.Is(err, stream.ErrNotYet) {
		t.Errorf("the part that is missing: %v", err)
	}
	// Who goes on behind the gap all the same finds that the parts do not meet.
	if _, _, err := c.Read(t.Context(), db, first, stream.Tip{Sequence: 2, Digest: tips[0].Digest, To: 1100}); !errors.Is(err, stream.ErrBroken) {
		t.Errorf("the part behind it: %v", err)
	}
	if _, _, err := c.Read(t.Context(), db, first, stream.Tip{Sequence: 2, Digest: tips[1].Digest, To: 1400}); !errors.Is(err, stream.ErrBroken) ||
		!strings.Contains(err.Error(), "begins at position 1500") {
		t.Errorf("a part that begins elsewhere: %v", err)
	}
}

// A stream is read by who has the new key, or the old one, while the keys are changed.
func TestKeysAreChangedInTheMiddleOfAStream(t *testing.T) {
	w := newWorld(t)
	old := w.ring
	next, err := seal.Generate(w.random)
	if err != nil {
		t.Fatal(err)
	}
	with := func(ring *seal.Ring) *stream.Chain {
		cfg := w.config()
		cfg.Ring = ring
		return w.open(cfg)
	}
	added, err := old.Add(next)
	if err != nil {
		t.Fatal(err)
	}
	active, err := added.Activate(next.ID())
	if err != nil {
		t.Fatal(err)
	}
	retired, err := active.Retire(old.IDs()[0])
	if err != nil {
		t.Fatal(err)
	}
	tips := w.ship(with(old), start, 1100)
	tips = append(tips, w.ship(with(added), tips[0], 1500)...)
	tips = append(tips, w.ship(with(active), tips[1], 3000)...)
	w.wantLog(with(added), 3000)
	w.wantLog(with(active), 3000)
	if _, _, err := with(old).Read(t.Context(), db, first, tips[1]); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("a log under a key that was never added: %v", err) // its header is signed by both
	}
	if _, _, err := with(retired).Read(t.Context(), db, first, start); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("a part of before, once the old key is gone: %v", err)
	}
	w.ship(with(retired), tips[2], 3500)
	if _, _, err := with(retired).Read(t.Context(), db, first, tips[1]); err != nil {
		t.Errorf("a part of since: %v", err)
	}
}

// Who has the data keys alone can read a log, and cannot make a part.
func TestDataKeysMakeNoParts(t *testing.T) {
	w := newWorld(t)
	tips := w.ship(w.chain(), start, 1100, 1500)
	thief := w.config()
	thief.Ring = sealtest.NewRing(t, w.random)
	w.remove(2)
	if _, err := w.open(thief).Append(t.Context(), tips[0], w.part(tips[0], 1500)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.chain().Read(t.Context(), db, first, tips[0]); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("a part by somebody else: %v", err)
	}
}
