package source

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestABlankHostGetsTheFoldersAbove(t *testing.T) {
	getsTheFoldersAbove(t, newBlank(t, "files", func(path string) {
		do(t, os.Mkdir(path, 0o755))
		do(t, os.WriteFile(filepath.Join(path, "x"), []byte("content"), 0o640))
	}, func(path string) Source { return newTestDirectory(t, path) }))
}

// What a symlink leads into is taken for a file system that is not mounted.
func TestNothingIsMadeWhereASymlinkLeads(t *testing.T) {
	dir := t.TempDir()
	do(t, os.Symlink(filepath.Join(dir, "volume"), filepath.Join(dir, "link")))
	do(t, os.Symlink(filepath.Join(dir, "volume", "files"), filepath.Join(dir, "files")))
	for _, path := range []string{"link/files", "link/a/b", "files"} {
		d := newTestDirectory(t, filepath.Join(dir, path))
		if err := d.CheckRestore(t.Context()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
		if err := d.Stage(t.Context(), nil, Entry{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("stage %s: %v", path, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "volume")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
}
