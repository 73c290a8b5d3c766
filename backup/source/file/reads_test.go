package file

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// TestCheckFindsAFileThatMayNotBeRead: it opens the file, so that doctor needs no preview.
func TestCheckFindsAFileThatMayNotBeRead(t *testing.T) {
	dir, found := sourcetest.AsNobody(t, func(dir string) error {
		s, err := New("keys", Config{Path: filepath.Join(dir, "keys")})
		if err != nil {
			return err
		}
		return s.Check(t.Context())
	})
	path := filepath.Join(dir, "keys")
	sourcetest.Must(t, os.Chmod(dir, 0o777))
	sourcetest.Must(t, os.WriteFile(path, []byte("x"), 0o644))
	if got := found(); got != "<nil>" {
		t.Errorf("it may be read: %s", got)
	}
	sourcetest.Must(t, os.Chmod(path, 0o600))
	if got := found(); !strings.Contains(got, "keys") || !strings.HasSuffix(got, "permission denied") {
		t.Errorf("it may not be read: %s", got)
	}
}
