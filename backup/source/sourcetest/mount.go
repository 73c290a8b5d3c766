package sourcetest

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Mounting mounts something until the test ends, or umount does.
func Mounting(t *testing.T, device, point, kind string, flags uintptr) {
	t.Helper()
	Must(t, os.MkdirAll(point, 0o755))
	err := unix.Mount(device, point, kind, flags, "")
	if err != nil {
		t.Fatalf("mount a volume (the tests run as root): %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(point, unix.MNT_DETACH) })
}

// Umount takes away what is mounted at a point.
func Umount(t *testing.T, point string) {
	t.Helper()
	Must(t, unix.Unmount(point, 0))
}

// NeedRoot fails a test that cannot show anything without root: it has another user
// work against an agent, or makes what belongs to another user.
func NeedRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("the tests run as root: this one has another user")
	}
}

// Nobody is the user, and the group, of the application.
const Nobody = 65534

// Mapped maps a new file shared, and returns its memory.
func Mapped(t *testing.T, path string) []byte {
	t.Helper()
	Must(t, os.WriteFile(path, make([]byte, 64<<10), 0o644))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	Must(t, err)
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, 64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	Must(t, err)
	t.Cleanup(func() { _ = unix.Munmap(m) })
	return m
}

// MemoryDir is a folder on a file system in memory.
func MemoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "understudy-test-") //nolint:usetesting // on another file system
	Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Type != unix.TMPFS_MAGIC {
		t.Fatalf("%s is not in memory (%v)", dir, err)
	}
	return dir
}
