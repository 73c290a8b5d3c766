package directory

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// TestPreviewFindsWhatMayNotBeRead: before a backup fails at it.
func TestPreviewFindsWhatMayNotBeRead(t *testing.T) {
	dir, found := sourcetest.AsNobody(t, func(dir string) error {
		d, err := New("files", Config{Path: dir, Exclude: []string{"left-out"}})
		if err != nil {
			return err
		}
		return d.Preview(t.Context())
	})
	write := func(name string, mode os.FileMode) {
		t.Helper()
		sourcetest.Must(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), mode))
	}
	write("open", 0o644)
	write("left-out", 0o600)
	if got := found(); got != "<nil>" {
		t.Errorf("all may be read: %s", got)
	}
	for i := range 7 {
		write(fmt.Sprintf("closed-%d", i), 0o600)
	}
	if got := found(); !strings.Contains(got, "may not read closed-0, closed-1, closed-2, closed-3, closed-4 and 2 more in "+dir) {
		t.Errorf("files: %s", got)
	}
	sourcetest.Must(t, os.Mkdir(filepath.Join(dir, "a-folder"), 0o700))
	if got := found(); !strings.Contains(got, filepath.Join(dir, "a-folder")+": permission denied") {
		t.Errorf("a folder: %s", got)
	}
}
