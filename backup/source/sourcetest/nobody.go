package sourcetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const nobodysDir = "TEST_NOBODYS_FOLDER"

// AsNobody makes a folder, and returns what look finds in it for a user who may do there
// what everybody may: root may read everything. That user's process runs the same test
// again, and gets no further than this.
func AsNobody(t *testing.T, look func(dir string) error) (dir string, found func() string) {
	t.Helper()
	if dir := os.Getenv(nobodysDir); dir != "" {
		fmt.Printf("found: %v\n", look(dir))
		os.Exit(0)
	}
	dir = t.TempDir()
	for at := dir; at != os.TempDir() && at != "/"; at = filepath.Dir(at) {
		Must(t, os.Chmod(at, 0o755))
	}
	return dir, func() string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$")
		cmd.Env, cmd.Dir = []string{nobodysDir + "=" + dir, "TMPDIR=/tmp"}, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: Nobody, Gid: Nobody}}
		out, err := cmd.CombinedOutput()
		text, ok := strings.CutPrefix(string(out), "found: ")
		if err != nil || !ok {
			t.Fatalf("look as nobody: %v: %s", err, out)
		}
		return strings.TrimSpace(text)
	}
}
