package fsx

import (
	"os"
	"path/filepath"
	"testing"
)

func TestResolveTargetFollowsLinks(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	mustReal(t, err)
	mustReal(t, os.Mkdir(filepath.Join(dir, "real"), 0o755))
	for link, to := range map[string]string{"folder": "real", "there": "real/x", "chain": "there", "round": "around", "around": "round"} {
		mustReal(t, os.Symlink(to, filepath.Join(dir, link)))
	}
	for path, want := range map[string]string{
		"real/x": "real/x", "folder/x": "real/x", "there": "real/x", "chain": "real/x", "folder": "real",
		"missing/x": "missing/x", "folder/missing/x": "real/missing/x",
	} {
		if got, err := RealPath(filepath.Join(dir, path)); err != nil || got != filepath.Join(dir, want) {
			t.Errorf("%s leads to %s (%v), want %s", path, got, err, want)
		}
	}
	mustReal(t, os.Symlink("missing/x", filepath.Join(dir, "nowhere")))
	for _, path := range []string{"round", "nowhere", "nowhere/x"} {
		if got, err := RealPath(filepath.Join(dir, path)); err == nil {
			t.Errorf("%s leads to %s", path, got)
		}
	}
}

func mustReal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
