package directory

import (
	"path/filepath"
	"runtime"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// What a dump allocates for one file does not grow with how many there are.
func TestAllocationsOfAFileAreBounded(t *testing.T) {
	const few, many = 500, 4000
	firstFew, againFew := allocationsOfAFile(t, few)
	firstMany, againMany := allocationsOfAFile(t, many)
	t.Logf("of one of %d: %.0f, again %.0f; of one of %d: %.0f, again %.0f", few, firstFew, againFew, many, firstMany, againMany)
	if firstMany > firstFew*1.1 || againMany > againFew*1.1 {
		t.Errorf("a file of many takes %.0f allocations, and again %.0f; one of few %.0f and %.0f", firstMany, againMany, firstFew, againFew)
	}
	if againMany > 40 {
		t.Errorf("a file that has not changed takes %.0f allocations", againMany)
	}
}

// allocationsOfAFile counts those of a first dump, and of one in which nothing changed.
func allocationsOfAFile(t *testing.T, files int) (first, again float64) {
	t.Helper()
	live := filepath.Join(t.TempDir(), "live")
	sourcetest.WriteTree(t, live, 1, sourcetest.TreeSize{Files: files, Bytes: int64(files) * 100})
	d, v := newTestDirectory(t, live), sourcetest.NewVault(t)
	count := func() float64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		v.Backup(t, d)
		runtime.ReadMemStats(&after)
		return float64(after.Mallocs-before.Mallocs) / float64(files)
	}
	return count(), count()
}
