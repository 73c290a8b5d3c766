package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// TestAFullDiskIsCalledThat has a database in use on a disk on which nothing is
// free: SQLite says that there was an I/O error.
func TestAFullDiskIsCalledThat(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "volume")
	sourcetest.Must(t, os.Mkdir(dir, 0o755))
	if err := unix.Mount("understudy", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatalf("mount a volume (the tests run as root): %v", err)
	}
	t.Cleanup(func() { sourcetest.Must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	path := filepath.Join(dir, "app.db")
	elsewhere := filepath.Join(t.TempDir(), "app.db")
	db := sourcetest.NewBank(t, elsewhere, "wal", 10)
	sourcetest.Must(t, sourcetest.Transfer(db, 1, 2))
	sourcetest.CopyBank(t, elsewhere, path) // as a killed application leaves it
	sourcetest.Must(t, os.RemoveAll(path+"-shm"))
	filler, err := os.Create(filepath.Join(dir, "filler"))
	sourcetest.Must(t, err)
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	sourcetest.Must(t, filler.Close())
	src, err := New("db", Config{Path: path, Scratch: filepath.Join(dir, "scratch")})
	sourcetest.Must(t, err)
	_, _, err = sourcetest.NewVault(t).TryBackup(t.Context(), src)
	if !errors.Is(err, source.ErrFull) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "make room") {
		t.Errorf("the error is %v", err)
	}

	said := source.SayFull(unix.ENOSPC, 1<<40, dir)
	if !errors.Is(said, unix.ENOSPC) || !strings.Contains(said.Error(), "about 1.0 TiB needed") {
		t.Errorf("what is needed is not said: %v", said)
	}
	other := errors.New("anything else")
	if source.SayFull(other, 0, dir) != other || source.SayFull(nil, 0, dir) != nil || source.SayFull(unix.ENOSPC, 0, "/proc/none") != error(unix.ENOSPC) {
		t.Error("a full disk is said to be at fault for what it is not")
	}
}
