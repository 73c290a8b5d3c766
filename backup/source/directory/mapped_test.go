package directory

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/reading"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// A write to a page of a mapped file that is dirty already sets no time. The next
// backup has it all the same, on a disk and in memory.
func TestDirectorySeesWritesToMappedFiles(t *testing.T) {
	for name, dir := range map[string]string{"disk": t.TempDir(), "memory": sourcetest.MemoryDir(t)} {
		t.Run(name, func(t *testing.T) {
			m := sourcetest.Mapped(t, filepath.Join(dir, "map"))
			d, v := newTestDirectory(t, dir), sourcetest.NewVault(t)
			for _, text := range []string{"AAAA", "BBBB", "CCCC", "DDDD"} {
				copy(m, text)
				v.Backup(t, d)
				// An export has its own file system written down.
				to := filepath.Join(sourcetest.MemoryDir(t), "out")
				sourcetest.Must(t, source.Export(t.Context(), v.Reader(), v.Prev.Entry, to))
				if got := sourcetest.ReadText(t, filepath.Join(to, "map"))[:4]; got != text {
					t.Errorf("the backup has %q of %q", got, text)
				}
			}
		})
	}
}

// A disk that does not come to an end holds a backup up for a while, and the
// backup says what it may lack.
func TestDirectorySaysThatItsDiskDidNotSettle(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		sourcetest.Must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	d, v := newTestDirectory(t, dir), sourcetest.NewVault(t)
	d.settling.Device = func(int) (reading.Device, error) { return reading.ByWhole, nil }
	hang, calls := make(chan struct{}), 0
	d.settling.Wait = time.Millisecond
	d.settling.Sync = func(int) error { calls++; <-hang; return nil }
	for _, want := range []string{"not done within 1ms", "since an earlier backup"} {
		v.Prev, v.Index = nil, nil // all is read
		e, _ := v.Backup(t, d)
		if len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], want) || !strings.Contains(e.Warnings[0], "mapped files may not be in this backup") {
			t.Errorf("warnings %q, want %q", e.Warnings, want)
		}
	}
	close(hang)
	d.settling.Busy <- struct{}{} // once the call has ended
	<-d.settling.Busy
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
	d.settling.Wait, d.settling.Sync = time.Minute, func(int) error { calls++; return errors.New("lost a page") }
	v.Prev, v.Index = nil, nil
	if e, _ := v.Backup(t, d); len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], "lost a page") || calls != 2 {
		t.Errorf("warnings %q after %d calls", e.Warnings, calls)
	}
	// What has not changed needs no call.
	if e, _ := v.Backup(t, d); len(e.Warnings) > 0 || calls != 2 {
		t.Errorf("unchanged: warnings %q after %d calls", e.Warnings, calls)
	}
}

// Each file system that is mounted within a directory counts by itself.
func TestDirectorySeesWritesToMappedFilesBelowAMountPoint(t *testing.T) {
	dir := t.TempDir()
	sourcetest.Mounting(t, "understudy", filepath.Join(dir, "memory"), "tmpfs", 0)
	m := sourcetest.Mapped(t, filepath.Join(dir, "memory/map"))
	sourcetest.Must(t, os.WriteFile(filepath.Join(dir, "plain"), nil, 0o644))
	d, v := newTestDirectory(t, dir), sourcetest.NewVault(t)
	opened := counted(d)
	for _, text := range []string{"AAAA", "BBBB", "CCCC"} {
		copy(m, text)
		first := v.Prev == nil
		v.Backup(t, d)
		if n := opened(); n != 1 && !first {
			t.Errorf("%d files were read", n)
		}
		to := filepath.Join(t.TempDir(), "out")
		sourcetest.Must(t, source.Export(t.Context(), v.Reader(), v.Prev.Entry, to))
		if got := sourcetest.ReadText(t, filepath.Join(to, "memory/map"))[:4]; got != text {
			t.Errorf("the backup has %q of %q", got, text)
		}
	}
}
