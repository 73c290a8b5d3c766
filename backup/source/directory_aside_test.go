package source

import (
	"golang.org/x/sys/unix"
	"os"
	"path/filepath"
	"strings"
	"testing"
) // mustSweep deletes what a source has set aside, all of it.
func mustSweep(t *testing.T, s Sweeper) {
	t.Helper()
	if left, err := s.Sweep(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("after a sweep %v is left: %v", left, err)
	}
} // TestWhatCannotBeDeletedIsInNobodysWay replaces a folder that holds a file
// which cannot be deleted, again and again.
func TestWhatCannotBeDeletedIsInNobodysWay(t *testing.T) {
	for name, make := range map[string]func(*testing.T) *Directory{"by rename": byRename, "entry by entry": mount} {
		t.Run(name, func(t *testing.T) {
			g := newGenerations(t)
			d := make(t)
			locked := filepath.Join(d.cfg.Path, "deep", "locked")
			do(t, os.MkdirAll(filepath.Dir(locked), 0o755))
			do(t, os.WriteFile(locked, []byte("kept"), 0o600))
			do(t, os.WriteFile(filepath.Join(d.cfg.Path, "deep", "other"), []byte("gone"), 0o600))
			id := identity(t, locked)
			flag(t, locked, immutable)
			t.Cleanup(func() { unlock(t, filepath.Dir(d.cfg.Path)) })
			for range 2 {
				do(t, d.Stage(t.Context(), g.readA, g.a))
				do(t, d.Swap(t.Context()))
				do(t, d.Discard(t.Context()))
				left, err := d.Sweep(t.Context())
				do(t, err)
				if len(left) != 1 || left[0].Bytes <= 0 || !strings.Contains(left[0].Reason, "deep/locked: operation not permitted") {
					t.Fatalf("left: %+v", left)
				}
				if got := identity(t, filepath.Join(left[0].Path, "deep", "locked")); got != id {
					t.Errorf("%s does not hold the file", left[0].Path)
				}
				if entries, err := os.ReadDir(filepath.Join(left[0].Path, "deep")); err != nil || len(entries) != 1 {
					t.Errorf("what could be deleted was not: %v, %v", entries, err)
				}
			}
			do(t, d.Stage(t.Context(), g.readB, g.b))
			do(t, d.SwapBack(t.Context()))
			unlock(t, filepath.Dir(d.cfg.Path))
			mustSweep(t, d)
		})
	}
} // byRename is a directory source whose folder is swapped by rename.
func byRename(t *testing.T) *Directory {
	t.Helper()
	d, err := NewDirectory("files", DirectoryConfig{Path: filepath.Join(t.TempDir(), "files")})
	do(t, err)
	do(t, os.Mkdir(d.cfg.Path, 0o755))
	return d
}

const immutable = 0x10 // FS_IMMUTABLE_FL

// flag sets a file's flags, of those that tests set.
func flag(t *testing.T, path string, flags int) {
	t.Helper()
	f, err := os.Open(path)
	do(t, err)
	defer f.Close()
	is, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	do(t, err)
	const set = immutable | appendOnly | noDump | noAccess
	do(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(is)&^set|flags))
}

// unlock clears the flags of the files in a folder.
func unlock(t *testing.T, dir string) {
	t.Helper()
	do(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Name() == "locked" {
			flag(t, path, 0)
		}
		return err
	}))
}

func identity(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	do(t, unix.Lstat(path, &st))
	return st.Ino
}
