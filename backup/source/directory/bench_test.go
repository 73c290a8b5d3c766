package directory

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// swallow stores nothing.
func swallow(context.Context, pack.Info, []byte) (time.Time, error) { return time.Time{}, nil }

// report gives rates of files and bytes beside the time.
func report(b *testing.B, size sourcetest.TreeSize) {
	b.Helper()
	b.SetBytes(size.Bytes)
	b.ReportAllocs()
	b.ReportMetric(float64(size.Files)*float64(b.N)/b.Elapsed().Seconds(), "files/s")
}

func BenchmarkDirectoryFirstDump(b *testing.B) {
	for name, size := range map[string]sourcetest.TreeSize{
		"mixed": {Files: 3000, Bytes: 200 << 20, Large: 2},
		"small": {Files: 11500, Bytes: 23 << 20},
	} {
		b.Run(name, func(b *testing.B) {
			live := filepath.Join(b.TempDir(), "live")
			sourcetest.WriteTree(b, live, 1, size)
			d, keys := newTestDirectory(b, live), sourcetest.NewVault(b).Keys
			for b.Loop() {
				w, err := pack.NewWriter(b.Context(), pack.WriterConfig{Cluster: sourcetest.TestCluster, Keys: keys, Put: swallow})
				sourcetest.Must(b, err)
				_, err = d.Dump(b.Context(), w, nil)
				sourcetest.Must(b, err)
				_, _, err = w.Close(b.Context())
				sourcetest.Must(b, err)
			}
			report(b, size)
		})
	}
}

func BenchmarkDirectoryReadsOnly(b *testing.B) {
	size := sourcetest.TreeSize{Files: 11500, Bytes: 100 << 20}
	live := filepath.Join(b.TempDir(), "live")
	sourcetest.WriteTree(b, live, 1, size)
	d := newTestDirectory(b, live)
	for b.Loop() {
		_, err := d.dump(b.Context(), sourcetest.NullWriter{}, nil, nil)
		sourcetest.Must(b, err)
	}
	report(b, size)
}

func BenchmarkDirectoryUnchangedDump(b *testing.B) {
	size := sourcetest.TreeSize{Files: 11500, Bytes: 23 << 20}
	live := filepath.Join(b.TempDir(), "live")
	sourcetest.WriteTree(b, live, 1, size)
	d, v := newTestDirectory(b, live), sourcetest.NewVault(b)
	v.Backup(b, d)
	for b.Loop() {
		v.Backup(b, d)
	}
	report(b, size)
}

func BenchmarkDirectoryRestore(b *testing.B) {
	for name, size := range map[string]sourcetest.TreeSize{
		"mixed": {Files: 3000, Bytes: 200 << 20, Large: 2},
		"small": {Files: 11500, Bytes: 23 << 20},
	} {
		b.Run(name, func(b *testing.B) {
			folder := b.TempDir()
			live := filepath.Join(folder, "live")
			sourcetest.WriteTree(b, live, 1, size)
			d, v := newTestDirectory(b, live), sourcetest.NewVault(b)
			e, _ := v.Backup(b, d)
			for b.Loop() {
				sourcetest.Must(b, d.Stage(b.Context(), v.Reader(), e))
				b.StopTimer()
				sourcetest.Must(b, d.Discard(b.Context()))
				b.StartTimer()
			}
			report(b, size)
		})
	}
}
