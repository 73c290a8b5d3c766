package datadir

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/ha"
)

// TestAFullDiskKeepsNoJournalFromBeingWritten fills the data folder's disk: the
// journal is written all the same, again and again, and by the next process.
func TestAFullDiskKeepsNoJournalFromBeingWritten(t *testing.T) {
	path := t.TempDir()
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, "size=8m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	d, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(d *Dir, epoch uint64) {
		t.Helper()
		if err := d.SaveJournal(ha.Journal{Format: ha.Format, Epoch: epoch}); err != nil {
			t.Fatal(err)
		}
		if j, found, err := d.LoadJournal(); err != nil || !found || j.Epoch != epoch {
			t.Fatalf("read back: %+v, %v", j, err)
		}
	}
	write(d, 1)
	f, err := os.Create(filepath.Join(path, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, endless{}); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	for epoch := range uint64(10) {
		write(d, 2+epoch)
	}
	if err := errors.Join(f.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	if d, err = Open(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	write(d, 20)
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	write(d, 21)
	if !d.reserve.there() {
		t.Error("no room is kept again")
	}
}

// endless are bytes without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
