package sourcetest

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
)

// DiskVault makes backups of one source in a chain, as Vault does, and keeps packs in a
// folder, so that they take no memory.
type DiskVault struct {
	Entry source.Entry // of the last backup

	dir  string
	keys seal.DataKeys
	ref  *pack.IndexRef // nil: there is no backup yet
}

// NewDiskVault is empty.
func NewDiskVault(tb testing.TB) *DiskVault {
	tb.Helper()
	return &DiskVault{dir: tb.TempDir(), keys: NewVault(tb).Keys}
}

func (v *DiskVault) put(_ context.Context, info pack.Info, data []byte) (time.Time, error) {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), os.WriteFile(filepath.Join(v.dir, info.Digest.String()), data, 0o600)
}

// ReadPack implements pack.Packs.
func (v *DiskVault) ReadPack(_ context.Context, d pack.Digest, off int64, buf []byte) error {
	f, err := os.Open(filepath.Join(v.dir, d.String()))
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.ReadFull(io.NewSectionReader(f, off, int64(len(buf))), buf)
	return err
}

// Open opens the last backup.
func (v *DiskVault) Open(tb testing.TB) (*pack.Index, *pack.Reader) {
	tb.Helper()
	x, err := pack.LoadIndex(tb.Context(), TestCluster, v.keys, v, *v.ref)
	Must(tb, err)
	return x, pack.NewReader(TestCluster, v.keys, x, v)
}

// Backup dumps a source on top of the last backup.
func (v *DiskVault) Backup(tb testing.TB, src source.Source) pack.Stats {
	tb.Helper()
	config := pack.WriterConfig{Cluster: TestCluster, Keys: v.keys, Put: v.put}
	var before *source.Previous
	if v.ref != nil {
		x, r := v.Open(tb)
		config.Known, before = x, &source.Previous{Entry: v.Entry, Reader: r}
	}
	w, err := pack.NewWriter(tb.Context(), config)
	Must(tb, err)
	v.Entry, err = src.Dump(tb.Context(), w, before)
	Must(tb, err)
	ref, stats, err := w.Close(tb.Context())
	Must(tb, err)
	v.ref = &ref
	return stats
}

// Measure does a step, and reports the processors' time for each of n units, in
// microseconds, and the peak of memory. A profile (-cpuprofile) tells steps apart by
// their label.
func Measure(b *testing.B, step, unit string, n float64, do func()) {
	b.Helper()
	peak(b)
	before := ProcessorTime(b)
	pprof.Do(b.Context(), pprof.Labels("step", step), func(context.Context) { do() })
	spent := ProcessorTime(b) - before
	b.ReportMetric(float64(spent.Nanoseconds())/1e3/n, step+"-µs/"+unit)
	b.ReportMetric(peak(b), step+"-MiB")
}

// ProcessorTime is how long this process has had a processor.
func ProcessorTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u unix.Rusage
	Must(tb, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peak is the most memory that this process has held since the last call, in MiB.
func peak(tb testing.TB) float64 {
	tb.Helper()
	status, err := os.ReadFile("/proc/self/status")
	Must(tb, err)
	var kib float64
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	_, err = fmt.Sscanf(rest, "%f", &kib)
	Must(tb, err)
	debug.FreeOSMemory()
	Must(tb, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0))
	return kib / 1024
}
