package directory

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// diskVault keeps packs in a folder, so that they take no memory.
type diskVault struct{ dir string }

func (v diskVault) put(_ context.Context, info pack.Info, data []byte) (time.Time, error) {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), os.WriteFile(filepath.Join(v.dir, info.Digest.String()), data, 0o600)
}

// ReadPack implements pack.Packs.
func (v diskVault) ReadPack(_ context.Context, d pack.Digest, off int64, buf []byte) error {
	f, err := os.Open(filepath.Join(v.dir, d.String()))
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.ReadFull(io.NewSectionReader(f, off, int64(len(buf))), buf)
	return err
}

// peak gives the most memory that this process has held since the last call,
// in MiB.
func peak(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	sourcetest.Must(b, err)
	var kib float64
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	_, err = fmt.Sscanf(rest, "%f", &kib)
	sourcetest.Must(b, err)
	debug.FreeOSMemory()
	sourcetest.Must(b, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0))
	return kib / 1024
}

// BenchmarkDirectoryOfAMillionFiles reports the peak of memory of a first dump,
// one in which nothing changed, a stage, and an advance of that (with the dump
// that it needs). One run does:
//
//	go test -run - -bench Million -benchtime 1x ./backup/source
func BenchmarkDirectoryOfAMillionFiles(b *testing.B) {
	debug.SetGCPercent(50) // as the program does
	const folders, each = 1000, 1000
	root := b.TempDir()
	live := filepath.Join(root, "live")
	for i := range folders {
		dir := filepath.Join(live, fmt.Sprintf("%04d", i))
		sourcetest.Must(b, os.MkdirAll(dir, 0o755))
		for j := range each {
			sourcetest.Must(b, os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%04d", j)), fmt.Appendf(nil, "%d of %d", j, i), 0o644))
		}
	}
	keys := sourcetest.NewVault(b).Keys
	v := diskVault{b.TempDir()}
	d, to := newTestDirectory(b, live), newTestDirectory(b, filepath.Join(root, "target"))
	var entry source.Entry
	var ref pack.IndexRef
	open := func() (*pack.Index, *pack.Reader) {
		x, err := pack.LoadIndex(b.Context(), sourcetest.TestCluster, keys, v, ref)
		sourcetest.Must(b, err)
		return x, pack.NewReader(sourcetest.TestCluster, keys, x, v)
	}
	dump := func(known *pack.Index, prev *source.Previous) {
		w, err := pack.NewWriter(b.Context(), pack.WriterConfig{Cluster: sourcetest.TestCluster, Keys: keys, Put: v.put, Known: known})
		sourcetest.Must(b, err)
		entry, err = d.Dump(b.Context(), w, prev)
		sourcetest.Must(b, err)
		ref, _, err = w.Close(b.Context())
		sourcetest.Must(b, err)
	}
	again := func() {
		x, r := open()
		dump(x, &source.Previous{Entry: entry, Reader: r})
	}
	var first source.Entry
	for b.Loop() {
		peak(b)
		for _, step := range []struct {
			name string
			do   func()
		}{
			{"first", func() { dump(nil, nil) }},
			{"unchanged", again},
			{"stage", func() {
				_, r := open()
				sourcetest.Must(b, to.Stage(b.Context(), r, entry))
				first = entry
			}},
			{"advance", func() {
				sourcetest.Must(b, os.WriteFile(filepath.Join(live, fmt.Sprintf("%04d", folders/2), "file-0500"), []byte("changed"), 0o644))
				again()
				_, r := open()
				sourcetest.Must(b, to.Advance(b.Context(), r, first, entry))
			}},
		} {
			step.do()
			b.ReportMetric(peak(b), step.name+"-MiB")
		}
		sourcetest.Must(b, to.Discard(b.Context()))
	}
}
