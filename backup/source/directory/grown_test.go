package directory

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// TestAFileThatGrewIsTheSameInOtherChunks: what was added to a file is kept as a chunk
// of its own, and a dump that begins afresh cuts the same content elsewhere. The two are
// found to be the same, and a stage of either is the file.
func TestAFileThatGrewIsTheSameInOtherChunks(t *testing.T) {
	folder := t.TempDir()
	live := filepath.Join(folder, "live")
	sourcetest.WriteTree(t, live, 1, sourcetest.TreeSize{Files: 5, Bytes: 1 << 20})
	log := filepath.Join(live, "log")
	sourcetest.Must(t, os.WriteFile(log, make([]byte, 30_000), 0o600))
	d, v := newTestDirectory(t, live), sourcetest.NewVault(t)
	v.Backup(t, d)
	f, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
	sourcetest.Must(t, err)
	_, err = f.WriteString("one more line\n")
	sourcetest.Must(t, err)
	sourcetest.Must(t, f.Close())
	e, stats := v.Backup(t, d)
	if stats.New > 20_000 { // with the list of files
		t.Errorf("%d bytes are new where 14 were added", stats.New)
	}
	grown := v.LastSide()
	v.Stage(t, d, e)
	sourcetest.CompareTrees(t, live, d.Staged(), nil)
	fresh := sourcetest.NewVault(t)
	fresh.Packs = v.Packs
	afresh := fresh.Side(t, d)
	for _, same := range []bool{true, false} {
		diff, err := source.Compare(t.Context(), grown, afresh, source.CompareOptions{SameKeys: same})
		sourcetest.Must(t, err)
		if !diff.Same {
			t.Errorf("the same files differ: %+v", diff)
		}
	}
	if source.SameStream(grown.Entry.Root, afresh.Entry.Root) {
		t.Error("both are kept as the same chunks, and nothing was compared")
	}
}
