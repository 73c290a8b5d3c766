package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/ha/report"
)

// hooked is an application of one folder, with hooks of the test's.
type hooked struct {
	plain
	hooks string
}

func (h hooked) config() string { return h.sources() + h.hooks }

// twoFolders are an active and a standby of one folder each.
func twoFolders(t *testing.T, hooks string) (active, standby *host) {
	t.Helper()
	return newCluster(t, "file://"+t.TempDir(), nil).twoFolders(t, hooks)
}

func (c *cluster) twoFolders(t *testing.T, hooks string) (active, standby *host) {
	t.Helper()
	for _, name := range []string{"host-a", "host-b"} {
		c.host(name, hooked{newPlain(t, filepath.Join(c.dir, name+"-app")), hooks})
	}
	active, standby = c.hosts[0], c.hosts[1]
	active.run("init")
	active.serve()
	active.run("backup")
	standby.run("join")
	standby.serve()
	standby.rehearses()
	return active, standby
}

func (h *host) folder() string { return h.app.(hooked).dir }

// squat runs a shell script in a process of its own until release is called.
func squat(t *testing.T, script string, args ...string) (pid int, release func()) {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", script + "\necho ready; read forever", "sh"}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	release = func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
	t.Cleanup(release)
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid, release
}

// TestNothingIsSwappedUnderWhoHasItOpen has somebody run on the standby what no
// demote hook stops.
func TestNothingIsSwappedUnderWhoHasItOpen(t *testing.T) {
	t.Parallel()
	a, b := twoFolders(t, idleHooks)
	for _, c := range []struct{ script, how string }{
		{`exec 3>>"$1/file"`, "open for writing"},
		{`exec 3<"$1/file"`, "open for reading"},
		{`cd "$1"`, "as its working directory"},
	} {
		pid, release := squat(t, c.script, b.folder())
		before := inode(t, b.folder())
		r := b.try("promote", "--yes")
		if words := fmt.Sprintf("process %d (sh, of ", pid); r.code != 1 || !strings.Contains(r.out+r.errout, words) || !strings.Contains(r.out+r.errout, c.how) {
			t.Fatalf("%s: exit %d\n%s%s", c.script, r.code, r.out, r.errout)
		}
		if inode(t, b.folder()) != before {
			t.Errorf("%s: the folder was replaced", c.script)
		}
		a.is(report.StateActive)
		release()
	}

	pid, release := squat(t, `exec 3>>"$1/file"`, b.folder())
	b.eventually("is red for the application that runs there", func() error {
		if s := b.status(); s.Healthy || !strings.Contains(strings.Join(s.Problems, "\n"), fmt.Sprintf("an application runs on this standby: process %d", pid)) {
			return fmt.Errorf("problems %q", s.Problems)
		}
		return nil
	})
	release()
	b.eventually("is well once that has ended", func() error {
		if s := b.status(); strings.Contains(strings.Join(s.Problems, "\n"), "an application runs on this standby") {
			return fmt.Errorf("problems %q", s.Problems)
		}
		return nil
	})
	b.run("promote", "--yes")
	b.is(report.StateActive)
}

// TestWithoutADemoteHookAPromotionIsRefused while somebody has open what it would
// replace, before anything is begun.
func TestWithoutADemoteHookAPromotionIsRefused(t *testing.T) {
	t.Parallel()
	a, b := twoFolders(t, "")
	pid, release := squat(t, `exec 3>>"$1/file"`, b.folder())
	b.fails(3, fmt.Sprintf("process %d", pid), "promote", "--yes", "--application-is-stopped")
	a.is(report.StateActive)
	release()
	b.run("promote", "--yes", "--application-is-stopped")
}

// TestWhatCannotBeDeletedHoldsNothingUp promotes to and fro over a folder that
// holds an immutable file.
func TestWhatCannotBeDeletedHoldsNothingUp(t *testing.T) {
	t.Parallel()
	a, b := twoFolders(t, idleHooks)
	locked := filepath.Join(b.folder(), "locked")
	if err := os.WriteFile(locked, make([]byte, 10000), 0o600); err != nil {
		t.Fatal(err)
	}
	setFlags(t, locked, immutable)
	named := func() string {
		for _, p := range b.status().Problems {
			if strings.Contains(p, "cannot be deleted") && strings.Contains(p, "locked: operation not permitted") {
				return p
			}
		}
		return ""
	}
	unlock := func() {
		left, _ := filepath.Glob(filepath.Join(filepath.Dir(b.folder()), ".*dropped*", "locked"))
		for _, path := range append(left, locked) {
			if _, err := os.Lstat(path); err == nil {
				setFlags(t, path, 0)
			}
		}
	}
	t.Cleanup(unlock)
	b.run("promote", "--yes")
	b.run("backup")
	a.is(report.StateInSync)
	b.eventually("names what cannot be deleted", func() error {
		if p := named(); !strings.Contains(p, " KiB)") {
			return errors.New(p)
		}
		return nil
	})
	a.run("promote", "--yes")
	a.run("backup")
	b.is(report.StateInSync)
	b.rehearses()
	b.run("promote", "--yes")
	unlock()
	b.stopAgent()
	b.serve()
	b.eventually("has deleted what is left, after a restart", func() error {
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(b.folder()), ".*dropped*")); len(left) > 0 || named() != "" {
			return fmt.Errorf("%q, %q", left, named())
		}
		return nil
	})
}

const immutable = 0x10 // FS_IMMUTABLE_FL

func setFlags(t *testing.T, path string, flags int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags); err != nil {
		t.Fatal(err)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}
