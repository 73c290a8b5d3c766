package directory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// TestWhatCannotBeDeletedIsInNobodysWay replaces a folder that holds a file
// which cannot be deleted, again and again.
func TestWhatCannotBeDeletedIsInNobodysWay(t *testing.T) {
	for name, make := range map[string]func(*testing.T) *Source{"by rename": byRename, "entry by entry": mount} {
		t.Run(name, func(t *testing.T) {
			g := newGenerations(t)
			d := make(t)
			locked := filepath.Join(d.cfg.Path, "deep", "locked")
			sourcetest.Must(t, os.MkdirAll(filepath.Dir(locked), 0o755))
			sourcetest.Must(t, os.WriteFile(locked, []byte("kept"), 0o600))
			sourcetest.Must(t, os.WriteFile(filepath.Join(d.cfg.Path, "deep", "other"), []byte("gone"), 0o600))
			id := sourcetest.Identity(t, locked)
			sourcetest.Flag(t, locked, sourcetest.Immutable)
			t.Cleanup(func() { sourcetest.Unlock(t, filepath.Dir(d.cfg.Path)) })

			for range 2 {
				sourcetest.Must(t, d.Stage(t.Context(), g.readA, g.a))
				sourcetest.Must(t, d.Swap(t.Context()))
				sourcetest.Must(t, d.Discard(t.Context()))
				left, err := d.Sweep(t.Context())
				sourcetest.Must(t, err)
				if len(left) != 1 || left[0].Bytes <= 0 || !strings.Contains(left[0].Reason, "deep/locked: operation not permitted") {
					t.Fatalf("left: %+v", left)
				}
				if got := sourcetest.Identity(t, filepath.Join(left[0].Path, "deep", "locked")); got != id {
					t.Errorf("%s does not hold the file", left[0].Path)
				}
				if entries, err := os.ReadDir(filepath.Join(left[0].Path, "deep")); err != nil || len(entries) != 1 {
					t.Errorf("what could be deleted was not: %v, %v", entries, err)
				}
			}
			sourcetest.Must(t, d.Stage(t.Context(), g.readB, g.b))
			sourcetest.Must(t, d.SwapBack(t.Context()))
			sourcetest.Unlock(t, filepath.Dir(d.cfg.Path))
			sourcetest.MustSweep(t, d)
		})
	}
}

// byRename is a directory source whose folder is swapped by rename.
func byRename(t *testing.T) *Source {
	t.Helper()
	d, err := New("files", Config{Path: filepath.Join(t.TempDir(), "files")})
	sourcetest.Must(t, err)
	sourcetest.Must(t, os.Mkdir(d.cfg.Path, 0o755))
	return d
}
