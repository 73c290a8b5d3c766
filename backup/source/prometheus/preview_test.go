package prometheus

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// TestPreviewFindsBlocksThatMayNotBeRead: before a backup fails at them. What is in no
// snapshot may be closed.
func TestPreviewFindsBlocksThatMayNotBeRead(t *testing.T) {
	dir, found := sourcetest.AsNobody(t, func(dir string) error {
		p, err := New("metrics", Config{URL: "http://127.0.0.1:1", DataDir: dir, Stop: []string{"true"}, Start: []string{"true"}, Scratch: "/nowhere"})
		if err != nil {
			return err
		}
		return p.Preview(t.Context())
	})
	const open, closed = "01HRMP2M5YCE2KZ8ZRDN2VVVVV", "01HRMP2M5YCE2KZ8ZRDN2WWWWW"
	lay := func(mode os.FileMode, names ...string) {
		t.Helper()
		for _, name := range names {
			sourcetest.Must(t, os.MkdirAll(filepath.Join(dir, name, "chunks"), mode))
			sourcetest.Must(t, os.WriteFile(filepath.Join(dir, name, "meta.json"), []byte("{}"), mode))
		}
	}
	lay(0o755, open)
	lay(0o700, "wal", "chunks_head", "lost+found", closed+".tmp-for-creation")
	if got := found(); got != "<nil>" {
		t.Errorf("all blocks may be read: %s", got)
	}
	sourcetest.Must(t, os.Mkdir(filepath.Join(dir, "snapshots"), 0o755))
	if got := found(); !strings.Contains(got, "source metrics: remove snapshots from "+dir+"/snapshots: permission denied; run the agent as") {
		t.Errorf("snapshots: %s", got)
	}
	sourcetest.Must(t, os.Chmod(filepath.Join(dir, "snapshots"), 0o777))
	lay(0o600, closed)
	sourcetest.Must(t, os.Chmod(filepath.Join(dir, closed), 0o755))
	sourcetest.Must(t, os.Chmod(filepath.Join(dir, closed, "chunks"), 0o755))
	if got := found(); !strings.Contains(got, "source metrics: this user may not read meta.json in "+dir+"/"+closed+": a backup would fail") {
		t.Errorf("a file: %s", got)
	}
	sourcetest.Must(t, os.Chmod(filepath.Join(dir, closed), 0o700))
	if got := found(); !strings.Contains(got, dir+"/"+closed+": permission denied") {
		t.Errorf("a block: %s", got)
	}
}
