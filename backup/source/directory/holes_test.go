package directory

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// writeHoles makes a file of the given size with data at some offsets.
func writeHoles(t *testing.T, path string, size int64, data map[int64][]byte) {
	t.Helper()
	f, err := os.Create(path)
	sourcetest.Must(t, err)
	sourcetest.Must(t, f.Truncate(size))
	for at, b := range data {
		_, err := f.WriteAt(b, at)
		sourcetest.Must(t, err)
	}
	sourcetest.Must(t, f.Sync())
	sourcetest.Must(t, f.Close())
}

func checkHoles(t *testing.T, path string, size int64, data map[int64][]byte) {
	t.Helper()
	got, disk := diskUse(t, path)
	if got != size || disk > int64(len(data)+1)<<20 {
		t.Errorf("%s has %d bytes, of which %d on disk; it was made with %d", path, got, disk, size)
	}
	f, err := os.Open(path)
	sourcetest.Must(t, err)
	defer f.Close()
	for at, want := range data {
		got := make([]byte, len(want))
		_, err := f.ReadAt(got, at)
		sourcetest.Must(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs at %d", path, at)
		}
	}
	_, err = f.Seek(-1, io.SeekEnd)
	sourcetest.Must(t, err)
}

// Fifty gibibytes that are almost all holes are backed up, restored and brought
// forward without being read: within seconds, and in little memory.
func TestDirectoryNeitherReadsNorStoresHoles(t *testing.T) {
	const size = 50 << 30
	root := t.TempDir()
	live, target := filepath.Join(root, "live"), filepath.Join(root, "target")
	sourcetest.Must(t, os.Mkdir(live, 0o755))
	huge := map[int64][]byte{0: []byte("at the start"), 7 << 30: bytes.Repeat([]byte("in the midst "), 100000), size - 5: []byte("at ht")}
	writeHoles(t, filepath.Join(live, "huge"), size, huge)
	writeHoles(t, filepath.Join(live, "empty"), size, nil)
	v, from, to := sourcetest.NewVault(t), newTestDirectory(t, live), newTestDirectory(t, target)
	e, stats := v.Backup(t, from)
	if stats.Logical > 4<<20 {
		t.Errorf("%d bytes were read", stats.Logical)
	}
	if f := factsOf(t, e); f.Bytes != 2*size || f.DiskBytes > 4<<20 {
		t.Errorf("facts are %+v", f)
	}
	sourcetest.Must(t, to.Stage(t.Context(), v.Reader(), e))
	checkHoles(t, filepath.Join(to.Staged(), "huge"), size, huge)
	checkHoles(t, filepath.Join(to.Staged(), "empty"), size, nil)

	reads := counted(from)
	again, _ := v.Backup(t, from)
	if !again.Root.Equal(e.Root) || reads() != 0 {
		t.Error("the tree of files that did not change differs")
	}

	// The same bytes at another place are another file.
	moved := map[int64][]byte{0: huge[0], 9 << 30: huge[7<<30], size - 5: huge[size-5]}
	sourcetest.Must(t, os.Remove(filepath.Join(live, "huge")))
	writeHoles(t, filepath.Join(live, "huge"), size, moved)
	next, _ := v.Backup(t, from)
	sourcetest.Must(t, to.Advance(t.Context(), v.Reader(), e, next))
	checkHoles(t, filepath.Join(to.Staged(), "huge"), size, moved)

	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.Sys > 512<<20 {
		t.Errorf("%d MiB of memory were taken", m.Sys>>20)
	}
}

// A file with more holes than a list has room for comes back all the same.
func TestDirectoryKeepsAFileOfManyHoles(t *testing.T) {
	root := t.TempDir()
	live := filepath.Join(root, "live")
	sourcetest.Must(t, os.Mkdir(live, 0o755))
	data := map[int64][]byte{}
	for i := range int64(300) {
		data[i*(holeSize*2)+i%3*4096] = []byte{byte(i), 1}
	}
	writeHoles(t, filepath.Join(live, "f"), 300*holeSize*2+12345, data)
	v := sourcetest.NewVault(t)
	e, _ := v.Backup(t, newTestDirectory(t, live))
	copied := filepath.Join(root, "copy")
	sourcetest.Must(t, source.Export(t.Context(), v.Reader(), e, copied))
	sourcetest.CompareTrees(t, live, copied)
	f, err := os.Open(filepath.Join(live, "f"))
	sourcetest.Must(t, err)
	defer f.Close()
	extents, err := dataExtents(int(f.Fd()), 300*holeSize*2+12345)
	sourcetest.Must(t, err)
	if len(extents) < 250 {
		t.Errorf("only %d extents were found", len(extents))
	}
}

func TestANodeIsClippedToWhatWasRead(t *testing.T) {
	wanted := []tree.Extent{{Offset: 10, Length: 5}, {Offset: 100, Length: 5}, {Offset: 200, Length: 5}}
	for read, want := range map[int64]struct {
		size  int64
		parts int
		whole bool
	}{15: {300, 3, true}, 12: {202, 3, false}, 10: {200, 2, false}, 7: {102, 2, false}, 0: {10, 0, false}} {
		n := &tree.Node{Path: "f", Type: tree.RegularFile, Size: 300, Sparse: 1, Data: wanted, ModTime: time.Unix(0, 0)}
		n.Content.Size = read
		whole := clipNode(n, wanted)
		var total int64
		for _, x := range n.Data {
			total += x.Length
		}
		if whole != want.whole || n.Size != want.size || len(n.Data) != want.parts || total != read {
			t.Errorf("%d bytes read: %t, %+v", read, whole, n)
		}
	}
}
