package reading

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Whoever may write to a file is known by a lease, which keeps nobody waiting
// afterwards.
func TestWhoMayWriteToAFileIsKnown(t *testing.T) {
	dir := t.TempDir()
	mapped, err := os.Create(filepath.Join(dir, "mapped"))
	mustRead(t, err)
	mustRead(t, mapped.Truncate(64<<10))
	m, err := unix.Mmap(int(mapped.Fd()), 0, 64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	mustRead(t, err)
	t.Cleanup(func() { _ = unix.Munmap(m) })
	mustRead(t, mapped.Close())
	m[0] = 1
	mustRead(t, os.WriteFile(filepath.Join(dir, "quiet"), []byte("x"), 0o644))
	mustRead(t, os.WriteFile(filepath.Join(dir, "written"), []byte("x"), 0o644))
	writer, err := os.OpenFile(filepath.Join(dir, "written"), os.O_WRONLY, 0)
	mustRead(t, err)
	defer writer.Close()
	for name, want := range map[string]bool{"mapped": true, "written": true, "quiet": false} {
		f, err := os.Open(filepath.Join(dir, name))
		mustRead(t, err)
		defer f.Close()
		if got := heldForWriting(int(f.Fd())); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		later, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			t.Errorf("%s cannot be opened at once: %v", name, err)
			continue
		}
		mustRead(t, later.Close())
	}
}

func mustRead(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
