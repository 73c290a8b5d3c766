package stream_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/understudy-ha/understudy/backup/stream"
)

// benchLog is a MiB that compresses about as a write-ahead log does: records with a
// header that repeats, and a payload of which half is random.
func benchLog() []byte {
	random := rand.NewChaCha8([32]byte{2})
	var log bytes.Buffer
	for log.Len() < 1<<20 {
		noise := make([]byte, 48)
		_, _ = random.Read(noise)
		log.WriteString("a record's header, and the row's constant part.")
		log.Write(noise)
	}
	return log.Bytes()[:1<<20]
}

func BenchmarkAppendAndRead(b *testing.B) {
	w := newWorld(b)
	c := w.chain()
	p := w.part(start, 1100)
	p.Log, p.To = benchLog(), start.To+1<<20
	for _, bench := range []struct {
		name string
		do   func(after stream.Tip) (stream.Tip, error)
	}{
		{"append", func(after stream.Tip) (stream.Tip, error) { return c.Append(b.Context(), after, p) }},
		{"read", func(after stream.Tip) (stream.Tip, error) {
			_, tip, err := c.Read(b.Context(), db, first, after)
			return tip, err
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(len(p.Log)))
			b.ReportAllocs()
			for b.Loop() {
				if bench.name == "append" {
					w.remove(1)
				}
				if _, err := bench.do(start); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(w.object(1)))/float64(len(p.Log)), "stored/log")
		})
	}
}
