package directory

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/seal"
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

// BenchmarkGrowthOfFiles has ever more files, and reports for each step the processors'
// time for one file and the peak of memory: of a first dump, of one in which nothing
// changed, of one in which a file of 1,000 changed, of a stage, of that stage brought
// forward by the change, of a look at its fingerprint, and of its comparison with its
// marks, file by file. Beside them is what writing a file costs on this file system.
// docs/growth.md shows the curves.
func BenchmarkGrowthOfFiles(b *testing.B) {
	debug.SetGCPercent(50) // as the program does
	for _, files := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("files=%d", files), func(b *testing.B) {
			written := processorTime(b)
			g := newGrowing(b, files)
			written = processorTime(b) - written
			for b.Loop() {
				g.run(b)
			}
			b.ReportMetric(float64(written.Nanoseconds())/1e3/float64(files), "os.WriteFile-µs/file")
		})
	}
}

// growing is a folder of many files, what is stored of it, and another place that
// becomes a copy.
type growing struct {
	files int
	live  string
	d, to *Source
	keys  seal.DataKeys
	vault diskVault
	entry source.Entry
	ref   pack.IndexRef
}

const filesAFolder = 1000

func newGrowing(b *testing.B, files int) *growing {
	b.Helper()
	root := b.TempDir()
	g := &growing{files: files, live: filepath.Join(root, "live"), keys: sourcetest.NewVault(b).Keys, vault: diskVault{b.TempDir()}}
	for i := range files {
		if i%filesAFolder == 0 {
			sourcetest.Must(b, os.MkdirAll(filepath.Dir(g.file(i)), 0o755))
		}
		sourcetest.Must(b, os.WriteFile(g.file(i), fmt.Appendf(nil, "this is number %d", i), 0o644))
	}
	g.d, g.to = newTestDirectory(b, g.live), newTestDirectory(b, filepath.Join(root, "target"))
	return g
}

func (g *growing) file(i int) string {
	return filepath.Join(g.live, fmt.Sprintf("%04d", i/filesAFolder), fmt.Sprintf("file-%04d", i%filesAFolder))
}

func (g *growing) run(b *testing.B) {
	b.Helper()
	g.measure(b, "first", func() { g.dump(b, nil, nil) })
	g.measure(b, "unchanged", func() { g.again(b) })
	g.measure(b, "stage", func() {
		_, r := g.open(b)
		sourcetest.Must(b, g.to.Stage(b.Context(), r, g.entry))
	})
	staged := g.entry
	for i := 0; i < g.files; i += 1000 {
		sourcetest.Must(b, os.WriteFile(g.file(i), []byte("changed"), 0o644))
	}
	g.measure(b, "0.1%-changed", func() { g.again(b) })
	g.measure(b, "advance", func() {
		_, r := g.open(b)
		sourcetest.Must(b, g.to.Advance(b.Context(), r, staged, g.entry))
	})
	g.measure(b, "fingerprint", func() {
		print, err := g.to.Fingerprint(b.Context())
		sourcetest.Must(b, err)
		if print == "" {
			b.Fatal("the stage has no fingerprint")
		}
	})
	g.measure(b, "compared", func() {
		found, err := g.to.Inspect(b.Context())
		sourcetest.Must(b, err)
		if found.Damaged != 0 || found.Entries < int64(g.files) {
			b.Fatalf("%+v", found)
		}
	})
	sourcetest.Must(b, g.to.Discard(b.Context()))
}

// measure reports what a step takes.
func (g *growing) measure(b *testing.B, step string, do func()) {
	b.Helper()
	peak(b)
	before := processorTime(b)
	pprof.Do(b.Context(), pprof.Labels("step", step), func(context.Context) { do() }) // -cpuprofile tells them apart
	spent := processorTime(b) - before
	b.ReportMetric(float64(spent.Nanoseconds())/1e3/float64(g.files), step+"-µs/file")
	b.ReportMetric(peak(b), step+"-MiB")
}

// processorTime is how long this process has had a processor.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	sourcetest.Must(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (g *growing) open(b *testing.B) (*pack.Index, *pack.Reader) {
	b.Helper()
	x, err := pack.LoadIndex(b.Context(), sourcetest.TestCluster, g.keys, g.vault, g.ref)
	sourcetest.Must(b, err)
	return x, pack.NewReader(sourcetest.TestCluster, g.keys, x, g.vault)
}

func (g *growing) dump(b *testing.B, known *pack.Index, prev *source.Previous) {
	b.Helper()
	w, err := pack.NewWriter(b.Context(), pack.WriterConfig{Cluster: sourcetest.TestCluster, Keys: g.keys, Put: g.vault.put, Known: known})
	sourcetest.Must(b, err)
	g.entry, err = g.d.Dump(b.Context(), w, prev)
	sourcetest.Must(b, err)
	g.ref, _, err = w.Close(b.Context())
	sourcetest.Must(b, err)
}

// again dumps once more, against what was dumped before.
func (g *growing) again(b *testing.B) {
	b.Helper()
	x, r := g.open(b)
	g.dump(b, x, &source.Previous{Entry: g.entry, Reader: r})
}
