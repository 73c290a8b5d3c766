package directory

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestCheckRefusesWhatCannotBeSwapped(t *testing.T) {
	dir := t.TempDir()
	sourcetest.Must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	for path, want := range map[string]string{
		"/":                                "root of a file system",
		"/dev":                             "mount point inside",
		filepath.Join(dir, "missing", "x"): "missing",
		filepath.Join(dir, "file"):         "not a directory",
		filepath.Join(dir, "none"):         "missing",
	} {
		err := newTestDirectory(t, path).Check(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("check of %s: %v; want %q in it", path, err, want)
		}
		if missing := errors.Is(err, fs.ErrNotExist); missing != strings.Contains(path, dir+"/none") && !strings.Contains(path, "missing") {
			t.Errorf("check of %s: %v", path, err)
		}
	}
	sourcetest.Must(t, newTestDirectory(t, dir).Check(t.Context()))
}
