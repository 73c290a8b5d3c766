package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// debianArchive is what e2e/tools/debian makes.
const debianArchive = "e2e/tools/bin/debian.tar"

// A Debian is a small Debian system with systemd as its first process. It is a
// container, and as near to a host as one can be.
type Debian struct {
	Name string

	engine *DockerEngine
}

// debianImage is the system's name among the engine's images.
const debianImage = "debian:small"

// ImportDebian makes the image of Debian systems. It comes before the first of them.
func (d *DockerEngine) ImportDebian(tb testing.TB) {
	tb.Helper()
	top, err := findTop()
	if err != nil {
		tb.Fatal(err)
	}
	archive := filepath.Join(top, debianArchive)
	if _, err := os.Stat(archive); err != nil {
		tb.Fatalf("find %s: %v: %v", debianArchive, err, errMissing)
	}
	d.ImportArchive(tb, archive, debianImage)
}

// bootedScript waits until every unit has started.
const bootedScript = `
for i in $(seq 600); do
	state=$(systemctl is-system-running 2>/dev/null)
	case $state in running) exit 0;; degraded) break;; esac
	sleep 0.1
done
echo "systemd says: $state"
systemctl list-units --failed
exit 1`

// Debian boots a system that the others in a network know by its name.
func (d *DockerEngine) Debian(tb testing.TB, name, network string) *Debian {
	tb.Helper()
	// systemd wants to mount, and to keep its services in control groups of its own.
	d.Docker(tb, "run", "--detach", "--name="+name, "--hostname="+name, "--network="+network, "--env=container=docker",
		"--cap-add=SYS_ADMIN", "--cap-add=SYS_PTRACE", "--cap-add=LINUX_IMMUTABLE", "--cap-add=LEASE",
		"--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined",
		"--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp:exec", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw",
		"--stop-signal=SIGRTMIN+3", debianImage, "/sbin/init")
	m := &Debian{Name: name, engine: d}
	m.Run(tb, bootedScript)
	return m
}

// Try runs a script of root's, and returns what it prints.
func (m *Debian) Try(tb testing.TB, script string) (string, error) {
	tb.Helper()
	return m.engine.TryDocker(tb.Context(), "exec", "--env=HOME=/root", m.Name, "bash", "-c", script)
}

// Run is Try of what must succeed.
func (m *Debian) Run(tb testing.TB, script string) string {
	tb.Helper()
	out, err := m.Try(tb, script)
	if err != nil {
		tb.Fatalf("%s: %v", m.Name, err)
	}
	return strings.TrimSpace(out)
}

// Put copies a file to the system.
func (m *Debian) Put(tb testing.TB, file, to string) {
	tb.Helper()
	m.engine.Docker(tb, "cp", file, m.Name+":"+to)
}

// Get copies a file or a folder of the system's.
func (m *Debian) Get(tb testing.TB, path, to string) {
	tb.Helper()
	m.engine.Docker(tb, "cp", m.Name+":"+path, to)
}

// Write writes a file of root's.
func (m *Debian) Write(tb testing.TB, path, text string) {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
	m.Put(tb, file, path)
}
