package directory

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// BenchmarkGrowthOfFiles has ever more files, and reports for each step the processors'
// time for one file and the peak of memory: of a first dump, of one in which nothing
// changed, of one in which a file of 1,000 changed, of a stage, of that stage brought
// forward by the change, of a look at its fingerprint, and of its comparison with its
// marks, file by file. Beside them is what writing a file costs on this file system.
func BenchmarkGrowthOfFiles(b *testing.B) {
	debug.SetGCPercent(50) // as the program does
	for _, files := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("files=%d", files), func(b *testing.B) {
			written := sourcetest.ProcessorTime(b)
			g := newGrowing(b, files)
			written = sourcetest.ProcessorTime(b) - written
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
	vault *sourcetest.DiskVault
}

const filesAFolder = 1000

func newGrowing(b *testing.B, files int) *growing {
	b.Helper()
	root := b.TempDir()
	g := &growing{files: files, live: filepath.Join(root, "live"), vault: sourcetest.NewDiskVault(b)}
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
	measure := func(step string, do func()) {
		b.Helper()
		sourcetest.Measure(b, step, "file", float64(g.files), do)
	}
	measure("first", func() { g.vault.Backup(b, g.d) })
	measure("unchanged", func() { g.vault.Backup(b, g.d) })
	measure("stage", func() {
		_, r := g.vault.Open(b)
		sourcetest.Must(b, g.to.Stage(b.Context(), r, g.vault.Entry))
	})
	staged := g.vault.Entry
	for i := 0; i < g.files; i += 1000 {
		sourcetest.Must(b, os.WriteFile(g.file(i), []byte("changed"), 0o644))
	}
	measure("0.1%-changed", func() { g.vault.Backup(b, g.d) })
	measure("advance", func() {
		_, r := g.vault.Open(b)
		sourcetest.Must(b, g.to.Advance(b.Context(), r, staged, g.vault.Entry))
	})
	measure("fingerprint", func() {
		print, err := g.to.Fingerprint(b.Context())
		sourcetest.Must(b, err)
		if print == "" {
			b.Fatal("the stage has no fingerprint")
		}
	})
	measure("compared", func() {
		found, err := g.to.Inspect(b.Context())
		sourcetest.Must(b, err)
		if found.Damaged != 0 || found.Entries < int64(g.files) {
			b.Fatalf("%+v", found)
		}
	})
	sourcetest.Must(b, g.to.Discard(b.Context()))
}
