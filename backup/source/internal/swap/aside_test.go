package swap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// TestASweepLeavesOtherFileSystemsAlone has a file system mounted in what is to
// be deleted: what is on it stays, and the rest goes.
func TestASweepLeavesOtherFileSystemsAlone(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "old-1", "volume")
	mustSwap(t, os.MkdirAll(at, 0o755))
	mustSwap(t, os.WriteFile(filepath.Join(dir, "old-1", "file"), nil, 0o600))
	elsewhere := t.TempDir() // the same file system: no device number tells
	mustSwap(t, os.WriteFile(filepath.Join(elsewhere, "precious"), []byte("data"), 0o600))
	mustSwap(t, unix.Mount(elsewhere, at, "", unix.MS_BIND, ""))
	mounted := true
	t.Cleanup(func() {
		if mounted {
			mustSwap(t, unix.Unmount(at, unix.MNT_DETACH))
		}
	})
	in, err := fsx.Open(dir)
	mustSwap(t, err)
	t.Cleanup(in.Close)
	left, err := AsidesIn(in, "old").Sweep(t.Context())
	mustSwap(t, err)
	if len(left) != 1 || !strings.Contains(left[0].Reason, "a file system is mounted there") {
		t.Errorf("left: %+v", left)
	}
	if _, err := os.Stat(filepath.Join(elsewhere, "precious")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "old-1", "file")); err == nil {
		t.Error("what could be deleted was not")
	}
	mustSwap(t, unix.Unmount(at, 0))
	mounted = false
	if left, err := (AsidesIn(in, "old")).Sweep(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func mustSwap(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
