package directory

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestPreviewFindsWhatMayNotBeRead: before a backup fails at it. Root may read
// everything, so a process of another user looks.
func TestPreviewFindsWhatMayNotBeRead(t *testing.T) {
	const looks = "TEST_PREVIEW_OF"
	if path := os.Getenv(looks); path != "" {
		d, err := New("files", Config{Path: path, Exclude: []string{"left-out"}})
		if err == nil {
			err = d.Preview(t.Context())
		}
		t.Logf("found: %v", err)
		return
	}
	dir := t.TempDir()
	for at := dir; at != os.TempDir() && at != "/"; at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	look := func() string {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env, cmd.Dir = []string{looks + "=" + dir, "TMPDIR=/tmp"}, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	write := func(name string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("open", 0o644)
	write("left-out", 0o600)
	if out := look(); !strings.Contains(out, "found: <nil>") {
		t.Errorf("all may be read: %s", out)
	}
	for i := range 7 {
		write(fmt.Sprintf("closed-%d", i), 0o600)
	}
	if out := look(); !strings.Contains(out, "may not read closed-0, closed-1, closed-2, closed-3, closed-4 and 2 more in "+dir) {
		t.Errorf("files: %s", out)
	}
	if err := os.Mkdir(filepath.Join(dir, "a-folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if out := look(); !strings.Contains(out, filepath.Join(dir, "a-folder")+": permission denied") {
		t.Errorf("a folder: %s", out)
	}
}
