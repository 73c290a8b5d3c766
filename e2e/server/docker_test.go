package server

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAnEngineLeavesNothing: what it and its containers had of the machine ends with
// it, whatever still runs.
func TestAnEngineLeavesNothing(t *testing.T) {
	before, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDocker()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.remove() }) // again: should the test end early
	root := NewRoot(t)
	d.Import(t, root.Dir, "small:1")
	d.Docker(t, "network", "create", "some")
	d.Docker(t, "run", "--detach", "--network=some", "--publish=127.0.0.1:80:80", "--volume=/data", "small:1", "httpd", "-f", "-h", "/etc")
	// A container that runs does not listen yet.
	if err := d.process.ready(func(ctx context.Context) error {
		conn, err := d.Dial(ctx, "tcp", "127.0.0.1:80")
		if err != nil {
			return err
		}
		return conn.Close()
	}); err != nil {
		t.Fatal(err)
	}
	if groups, err := filepath.Glob("/sys/fs/cgroup/*/" + d.cgroups); err != nil || len(groups) == 0 && !exists("/sys/fs/cgroup/"+d.cgroups) {
		t.Fatalf("the container has no control group: %v", err)
	}
	if err := d.remove(); err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), d.dir) || exists(d.dir) {
		t.Errorf("%s is there, or mounted:\n%s", d.dir, mounts)
	}
	if groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + d.cgroups); len(groups) > 0 || exists("/sys/fs/cgroup/"+d.cgroups) {
		t.Errorf("control groups are left: %q", groups)
	}
	if after, err := net.Interfaces(); err != nil || len(after) != len(before) {
		t.Errorf("interfaces before %v, after %v: %v", before, after, err)
	}
	if out, _ := exec.Command("pgrep", "--full", d.dir).Output(); len(out) > 0 {
		t.Errorf("processes are left: %s", out)
	}
}

// TestAMissingEngineIsSaid: a machine that cannot run one fails the test, and the
// message says what to do.
func TestAMissingEngineIsSaid(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := newDocker(); err == nil || !strings.Contains(err.Error(), "make setup") {
		t.Errorf("got %v", err)
	}
}
