package pack

import (
	"io"
	"syscall"
	"testing"
	"time"
)

func BenchmarkWrite(b *testing.B) {
	mixed := append(noise(1, 25<<20), prose(2, 39<<20)...)
	for name, data := range map[string][]byte{"noise": noise(1, 64<<20), "prose": prose(1, 64<<20), "mixed": mixed} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			defer cpu(b, len(data))()
			for b.Loop() {
				store := newBucket()
				w := begin(b, store, nil)
				w.write(data, Files)
				w.end()
			}
		})
	}
	b.Run("unchanged", func(b *testing.B) {
		store := newBucket()
		w := begin(b, store, nil)
		w.write(mixed, Files)
		x, _, _ := w.end()
		b.SetBytes(int64(len(mixed)))
		b.ReportAllocs()
		defer cpu(b, len(mixed))()
		for b.Loop() {
			w := begin(b, store, x)
			w.write(mixed, Files)
			w.end()
		}
	})
}

func BenchmarkRead(b *testing.B) {
	for name, data := range map[string][]byte{"noise": noise(1, 64<<20), "prose": prose(1, 64<<20)} {
		b.Run(name, func(b *testing.B) {
			store := newBucket()
			w := begin(b, store, nil)
			s := w.write(data, Files)
			x, _, _ := w.end()
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			defer cpu(b, len(data))()
			for b.Loop() {
				rc := NewReader(testCluster, testKeys(), x, store).Open(b.Context(), s)
				if _, err := io.Copy(io.Discard, rc); err != nil {
					b.Fatal(err)
				}
				_ = rc.Close()
			}
		})
	}
}

// cpu reports the processor time for each byte, which other work on the
// machine changes less than the throughput.
func cpu(b *testing.B, size int) func() {
	b.Helper()
	spent := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	start := spent()
	return func() {
		b.ReportMetric(float64((spent()-start).Nanoseconds())/float64(b.N)/float64(size), "cpu-ns/B")
	}
}
