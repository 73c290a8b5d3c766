package directory

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestABlankHostGetsTheFoldersAbove(t *testing.T) {
	sourcetest.GetsTheFoldersAbove(t, sourcetest.NewBlank(t, "files", func(path string) {
		sourcetest.Must(t, os.Mkdir(path, 0o755))
		sourcetest.Must(t, os.WriteFile(filepath.Join(path, "x"), []byte("content"), 0o640))
	}, func(path string) source.Source { return newTestDirectory(t, path) }))
}

// What a symlink leads into is taken for a file system that is not mounted.
func TestNothingIsMadeWhereASymlinkLeads(t *testing.T) {
	dir := t.TempDir()
	sourcetest.Must(t, os.Symlink(filepath.Join(dir, "volume"), filepath.Join(dir, "link")))
	sourcetest.Must(t, os.Symlink(filepath.Join(dir, "volume", "files"), filepath.Join(dir, "files")))
	for _, path := range []string{"link/files", "link/a/b", "files"} {
		d := newTestDirectory(t, filepath.Join(dir, path))
		if err := d.CheckRestore(t.Context()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
		if err := d.Stage(t.Context(), nil, source.Entry{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("stage %s: %v", path, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "volume")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
}
