package source

import (
	"errors"
	"golang.org/x/sys/unix"
	"os"
	"path/filepath"
	"strings"
	"testing"
) // TestAFullDiskIsCalledThat has a database in use on a disk on which nothing is
// free: SQLite says that there was an I/O error.
func TestAFullDiskIsCalledThat(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "volume")
	must(t, os.Mkdir(dir, 0o755))
	if err := unix.Mount("understudy", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatalf("mount a volume (the tests run as root): %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	path := filepath.Join(dir, "app.db")
	elsewhere := filepath.Join(t.TempDir(), "app.db")
	db := newBank(t, elsewhere, "wal", 10)
	must(t, transfer(db, 1, 2))
	copyBank(t, elsewhere, path) // as a killed application leaves it
	must(t, os.RemoveAll(path+"-shm"))
	filler, err := os.Create(filepath.Join(dir, "filler"))
	must(t, err)
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	must(t, filler.Close())
	src, err := NewSQLite("db", SQLiteConfig{Path: path, Scratch: filepath.Join(dir, "scratch")})
	must(t, err)
	_, _, err = newShelf(t).tryBackup(t.Context(), src)
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "make room") {
		t.Errorf("the error is %v", err)
	}
	said := SayFull(unix.ENOSPC, 1<<40, dir)
	if !errors.Is(said, unix.ENOSPC) || !strings.Contains(said.Error(), "about 1.0 TiB needed") {
		t.Errorf("what is needed is not said: %v", said)
	}
	other := errors.New("anything else")
	if SayFull(other, 0, dir) != other || SayFull(nil, 0, dir) != nil || SayFull(unix.ENOSPC, 0, "/proc/none") != error(unix.ENOSPC) {
		t.Error("a full disk is said to be at fault for what it is not")
	}
}
