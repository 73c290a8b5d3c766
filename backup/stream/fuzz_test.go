package stream_test

import (
	"bytes"
	"testing"

	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
)

// Whatever lies in the place of a part: it is the part that was written, or an error.
func FuzzRead(f *testing.F) {
	w := newWorld(f)
	c := w.chain()
	tips := w.ship(c, start, 1100, 1500)
	sound := w.object(2)
	end := stream.Part{Source: db, Stream: first, End: &stream.End{By: "a"}}
	if _, err := c.Append(f.Context(), tips[1], end); err != nil {
		f.Fatal(err)
	}
	f.Add(sound)
	f.Add(w.object(1))
	f.Add(w.object(3))
	f.Add(sound[:len(sound)/2])
	f.Add([]byte("USPART\x01\x00\xff\xff\xff\xff"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, object []byte) {
		if _, err := w.memory.Put(t.Context(), stream.Key(db, first, 2), object, blobstore.Always); err != nil {
			t.Fatal(err)
		}
		p, tip, err := c.Read(t.Context(), db, first, tips[0])
		if bytes.Equal(object, sound) {
			if err != nil || tip != tips[1] {
				t.Fatalf("the part that was written: %+v, %v", tip, err)
			}
			return
		}
		if err == nil {
			// JSON can be written in several ways around what is signed.
			if p.To != 1500 || !bytes.Equal(p.Log, w.log[100:500]) || tip.Digest == tips[1].Digest {
				t.Fatalf("a part that nobody wrote was read: %+v", p)
			}
		}
		_, _ = c.Find(t.Context(), db, first, 1050, stream.Tip{Sequence: 2, To: 1500})
	})
}
