package datadir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What cannot be moved aside is one line.
func TestWhatCannotBeMovedAsideIsSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("x", 255)) // no longer name is possible
	if err := os.WriteFile(path, []byte("something"), 0o600); err != nil {
		t.Fatal(err)
	}
	moved, err := clearPlace(path)
	if moved != "" || err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%q, %v", moved, err)
	}
}
