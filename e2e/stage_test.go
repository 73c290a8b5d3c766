package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/e2e/server"
)

// stage is two hosts on which the commands of a page run as they stand. Each has
// folders, processes, a name and a network of its own; programs and libraries are
// this machine's.
type stage struct {
	t     *testing.T
	dir   string // what the hosts have of their own lies below, by their names
	hosts map[string]*stageHost
}

type stageHost struct {
	*stage
	name string
	pid  int // of its first process
}

// ownFolders are what each host has of its own, empty but for what a stage puts there.
var ownFolders = []string{"/etc", "/opt", "/root", "/run", "/srv", "/tmp", "/usr/local/bin", "/usr/local/sbin", "/var/lib", "/var/log"}

// stageScript makes a host of the namespaces that it begins in, which last as long as
// its standard input does.
const stageScript = `
set -eu
name=$1 dir=$2 bucket=$3; shift 3
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /dev/shm
hostname "$name"
ip link set lo up
mount --bind "$dir" /mnt
mkdir "/mnt/$name/srv/bucket"
mount --bind "$bucket" "/mnt/$name/srv/bucket"
for folder; do mount --rbind "/mnt/$name$folder" "$folder"; done
echo ready
while read -r _; do :; done
`

const hostsFile = "127.0.0.1 localhost\n10.77.0.1 host-a\n10.77.0.2 host-b\n"

// newStage makes host-a and host-b, on which the program is installed and nothing is
// configured. Both have the bucket's folder.
func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, dir: t.TempDir(), hosts: map[string]*stageHost{}}
	bucket := t.TempDir()
	for _, name := range []string{"host-a", "host-b"} {
		h := &stageHost{stage: s, name: name}
		s.hosts[name] = h
		h.furnish()
		h.begin(bucket)
	}
	a, b := s.hosts["host-a"], s.hosts["host-b"]
	net := func(pid int, args ...string) {
		if out, err := output("nsenter", append([]string{"--target", fmt.Sprint(pid), "--net", "ip"}, args...)...); err != nil {
			t.Fatalf("connect the hosts: ip %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	net(a.pid, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(b.pid))
	for pid, address := range map[int]string{a.pid: "10.77.0.1/24", b.pid: "10.77.0.2/24"} {
		net(pid, "address", "add", address, "dev", "eth0")
		net(pid, "link", "set", "eth0", "up")
	}
	return s
}

// path is where a path of the host lies on this machine.
func (h *stageHost) path(path string) string { return filepath.Join(h.dir, h.name, path) }

func (h *stageHost) write(path, text string, mode os.FileMode) {
	h.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(h.path(path)), 0o755), os.WriteFile(h.path(path), []byte(text), mode), os.Chmod(h.path(path), mode)); err != nil {
		h.t.Fatal(err)
	}
}

// copies copies a file of this machine to the host.
func (h *stageHost) copies(from, to string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(h.path(to)), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if out, err := output("cp", "--archive", "--no-target-directory", from, h.path(to)); err != nil {
		h.t.Fatalf("copy %s: %v\n%s", from, err, out)
	}
}

// furnish gives the host its folders, and what the package installs.
func (h *stageHost) furnish() {
	h.t.Helper()
	for _, folder := range ownFolders {
		if err := os.MkdirAll(h.path(folder), 0o755); err != nil {
			h.t.Fatal(err)
		}
	}
	if err := os.Chmod(h.path("/tmp"), 0o777|os.ModeSticky); err != nil {
		h.t.Fatal(err)
	}
	h.copies("/etc", "/etc")
	h.write("/etc/hosts", hostsFile, 0o644)
	h.write("/etc/understudy/.keep", "", 0o600)
	h.copies(understudyBin(), "/usr/local/bin/understudy")
	for _, name := range []string{"systemctl", "scp"} {
		h.copies("testdata/standin/"+name, "/usr/local/bin/"+name)
	}
	unit, err := os.ReadFile("../cmd/understudy/packaging/understudy.service")
	if err != nil {
		h.t.Fatal(err)
	}
	h.write("/etc/systemd/system/understudy.service", strings.ReplaceAll(string(unit), "/usr/bin/understudy", "/usr/local/bin/understudy"), 0o644)
}

// begin starts the host's first process.
func (h *stageHost) begin(bucket string) {
	h.t.Helper()
	cmd := exec.Command("bash", append([]string{"-c", stageScript, "stage", h.name, h.dir, bucket}, ownFolders...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC}
	var errout bytes.Buffer
	cmd.Stderr = &errout
	in, err := cmd.StdinPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	out, ready, err := os.Pipe()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd.Stdout = ready
	ended := make(chan struct{})
	if err := server.Start(cmd, syscall.SIGKILL, func(error) { close(ended) }); err != nil {
		h.t.Fatalf("make a host of namespaces: %v", err)
	}
	_ = ready.Close()
	h.t.Cleanup(func() {
		_ = in.Close()
		<-ended // and with it every process of the host
		_ = out.Close()
	})
	h.pid = cmd.Process.Pid
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		<-ended
		h.t.Fatalf("make a host of namespaces: %s", errout.String())
	}
}

// stageShell keeps what a block has exported, and the folder that it went to, for the
// next one.
const stageShell = `
cd /root
[ ! -e .kept ] || . ./.kept
set -e
%s
{ declare -px; printf 'cd %%q\n' "$PWD"; } >/root/.kept
`

// stagePath is where a host's programs are looked for.
const stagePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// sh runs commands on the host, with nothing to read from.
func (h *stageHost) sh(commands string) (string, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "--target", fmt.Sprint(h.pid), "--mount", "--net", "--uts", "--ipc", "--pid",
		"env", "--ignore-environment", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb", "PATH="+stagePath, "bash", "-c", fmt.Sprintf(stageShell, commands))
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run runs commands that must succeed.
func (h *stageHost) run(commands string) string {
	h.t.Helper()
	out, err := h.sh(commands)
	if err != nil {
		h.t.Fatalf("%s: %v\n%s\n%s", h.name, err, commands, out)
	}
	return out
}

// tells shows what the host's services have printed, when a test has failed.
func (h *stageHost) tells() {
	logs, _ := filepath.Glob(h.path("/var/log/*.log")) // the pattern is right
	for _, log := range logs {
		text, _ := os.ReadFile(log)
		h.t.Logf("%s of %s:\n%s", filepath.Base(log), h.name, tail(text, 4<<10))
	}
}

// TestAStageLeavesNoSharedMemory: what a database has of it would outlive the kill that
// ends a host, if it were this machine's.
func TestAStageLeavesNoSharedMemory(t *testing.T) {
	t.Parallel()
	h := newStage(t).hosts["host-a"]
	installsPostgres(h)
	segments := h.run("ls /dev/shm; ipcs --shmems | grep ^0x")
	if !strings.Contains(segments, "PostgreSQL.") || !strings.Contains(segments, "postgres ") {
		t.Fatalf("PostgreSQL has no shared memory of either kind: %q", segments)
	}
	for name := range strings.FieldsSeq(segments) {
		if _, err := os.Stat("/dev/shm/" + name); err == nil {
			t.Errorf("%s is this machine's", name)
		}
	}
	if own, err := os.Readlink("/proc/self/ns/ipc"); err != nil || strings.TrimSpace(h.run("readlink /proc/self/ns/ipc")) == own {
		t.Errorf("the host's shared memory of System V is this machine's: %v", err)
	}
}
