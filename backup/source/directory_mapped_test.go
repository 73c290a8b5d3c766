package source

import (
	"errors"
	"golang.org/x/sys/unix"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
) // mapped maps a new file shared, and returns its memory.
func mapped(t *testing.T, path string) []byte {
	t.Helper()
	do(t, os.WriteFile(path, make([]byte, 64<<10), 0o644))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	do(t, err)
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, 64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	do(t, err)
	t.Cleanup(func() { _ = unix.Munmap(m) })
	return m
} // A write to a page of a mapped file that is dirty already sets no time. The next
// backup has it all the same, on a disk and in memory.
func TestDirectorySeesWritesToMappedFiles(t *testing.T) {
	for name, dir := range map[string]string{"disk": t.TempDir(), "memory": memoryFolder(t)} {
		t.Run(name, func(t *testing.T) {
			m := mapped(t, filepath.Join(dir, "map"))
			d, v := newTestDirectory(t, dir), newVault(t)
			for _, text := range []string{"AAAA", "BBBB", "CCCC", "DDDD"} {
				copy(m, text)
				v.mustBackup(d) // An export has its own file system written down.
				to := filepath.Join(memoryFolder(t), "out")
				do(t, Export(t.Context(), v.last(), v.prev.Entry, to))
				if got := readText(t, filepath.Join(to, "map"))[:4]; got != text {
					t.Errorf("the backup has %q of %q", got, text)
				}
			}
		})
	}
} // memoryFolder is a folder on a file system in memory.
func memoryFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "understudy-test-") //nolint:usetesting // on another file system
	do(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Type != unix.TMPFS_MAGIC {
		t.Fatalf("%s is not in memory (%v)", dir, err)
	}
	return dir
} // A disk that does not come to an end holds a backup up for a while, and the
// backup says what it may lack.
func TestDirectorySaysThatItsDiskDidNotSettle(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		do(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	d, v := newTestDirectory(t, dir), newVault(t)
	d.settling.device = func(int) (device, error) { return byWhole, nil }
	hang, calls := make(chan struct{}), 0
	d.settling.wait = time.Millisecond
	d.settling.sync = func(int) error { calls++; <-hang; return nil }
	for _, want := range []string{"not done within 1ms", "since an earlier backup"} {
		v.prev, v.index = nil, nil // all is read
		e, _ := v.mustBackup(d)
		if len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], want) || !strings.Contains(e.Warnings[0], "mapped files may not be in this backup") {
			t.Errorf("warnings %q, want %q", e.Warnings, want)
		}
	}
	close(hang)
	d.settling.busy <- struct{}{} // once the call has ended
	<-d.settling.busy
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
	d.settling.wait, d.settling.sync = time.Minute, func(int) error { calls++; return errors.New("lost a page") }
	v.prev, v.index = nil, nil
	if e, _ := v.mustBackup(d); len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], "lost a page") || calls != 2 {
		t.Errorf("warnings %q after %d calls", e.Warnings, calls)
	}
	// What has not changed needs no call.
	if e, _ := v.mustBackup(d); len(e.Warnings) > 0 || calls != 2 {
		t.Errorf("unchanged: warnings %q after %d calls", e.Warnings, calls)
	}
}

// Each file system that is mounted within a directory counts by itself.
func TestDirectorySeesWritesToMappedFilesBelowAMountPoint(t *testing.T) {
	dir := t.TempDir()
	mounting(t, "understudy", filepath.Join(dir, "memory"), "tmpfs", 0)
	m := mapped(t, filepath.Join(dir, "memory/map"))
	do(t, os.WriteFile(filepath.Join(dir, "plain"), nil, 0o644))
	d, v := newTestDirectory(t, dir), newVault(t)
	opened := counted(d)
	for _, text := range []string{"AAAA", "BBBB", "CCCC"} {
		copy(m, text)
		first := v.prev == nil
		v.mustBackup(d)
		if n := opened(); n != 1 && !first {
			t.Errorf("%d files were read", n)
		}
		to := filepath.Join(t.TempDir(), "out")
		do(t, Export(t.Context(), v.last(), v.prev.Entry, to))
		if got := readText(t, filepath.Join(to, "memory/map"))[:4]; got != text {
			t.Errorf("the backup has %q of %q", got, text)
		}
	}
}
