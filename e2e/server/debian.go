package server

import (
	"context"
	"errors"
	"fmt"
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
	// Name is its own, by which others in its network know it.
	Name string

	container string
	engine    *DockerEngine
}

// debianImage is the system's name among the engine's images.
const debianImage = "debian:small"

// sharedDocker is an engine that the tests of a package share.
type sharedDocker struct{ *DockerEngine }

func (s sharedDocker) remove() {
	if err := s.DockerEngine.remove(); err != nil { // TestAnEngineLeavesNothing would say so
		fmt.Fprintln(os.Stderr, "remove what the Docker engine leaves:", err)
	}
}

// SharedDocker returns the package's engine, which has the image of Debian systems.
// Tests keep apart by their networks.
func SharedDocker(tb testing.TB) *DockerEngine {
	tb.Helper()
	return share(tb, "Docker", func() (sharedDocker, error) {
		d, err := newDocker()
		if err != nil {
			return sharedDocker{}, fmt.Errorf("start a Docker engine: %w", err)
		}
		if err := d.importDebian(); err != nil {
			return sharedDocker{}, errors.Join(err, d.remove())
		}
		return sharedDocker{d}, nil
	}).DockerEngine
}

func (d *DockerEngine) importDebian() error {
	top, err := findTop()
	if err != nil {
		return err
	}
	archive := filepath.Join(top, debianArchive)
	if _, err := os.Stat(archive); err != nil {
		return fmt.Errorf("find %s: %w: %w", debianArchive, err, errMissing)
	}
	_, err = d.run(context.Background(), archive, d.docker, "import", "-", debianImage)
	return err
}

// Network makes a network for the time of a test.
func (d *DockerEngine) Network(tb testing.TB, name string) {
	tb.Helper()
	d.Docker(tb, "network", "create", name)
	tb.Cleanup(func() {
		if _, err := d.TryDocker(context.Background(), "network", "rm", name); err != nil {
			tb.Error(err)
		}
	})
}

// Container runs a container in a network, where others know it by a name, for the
// time of a test.
func (d *DockerEngine) Container(tb testing.TB, name, network string, args ...string) (container string) {
	tb.Helper()
	container = network + "-" + name
	tb.Cleanup(func() {
		if _, err := d.TryDocker(context.Background(), "rm", "--force", "--volumes", container); err != nil {
			tb.Error(err)
		}
	})
	d.Docker(tb, append([]string{"run", "--detach", "--name=" + container, "--hostname=" + name, "--network=" + network, "--network-alias=" + name}, args...)...)
	return container
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
	container := d.Container(tb, name, network, "--env=container=docker",
		"--cap-add=SYS_ADMIN", "--cap-add=SYS_PTRACE", "--cap-add=LINUX_IMMUTABLE", "--cap-add=LEASE",
		"--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined",
		"--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp:exec", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw",
		debianImage, "/sbin/init")
	m := &Debian{Name: name, container: container, engine: d}
	m.Run(tb, bootedScript)
	return m
}

// Try runs a script of root's, and returns what it prints.
func (m *Debian) Try(tb testing.TB, script string) (string, error) {
	tb.Helper()
	return m.engine.TryDocker(tb.Context(), "exec", "--env=HOME=/root", m.container, "bash", "-c", script)
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

// PowerOff ends the system as a host ends whose power is gone.
func (m *Debian) PowerOff(tb testing.TB) {
	tb.Helper()
	m.engine.Docker(tb, "kill", m.container)
}

// Log is the last that a service has logged, whatever has become of the test.
func (m *Debian) Log(service string) string {
	out, err := m.engine.TryDocker(context.Background(), "exec", m.container, "journalctl", "--unit="+service, "--no-pager", "--lines=60")
	if err != nil {
		return err.Error()
	}
	return out
}

// Put copies a file to the system.
func (m *Debian) Put(tb testing.TB, file, to string) {
	tb.Helper()
	m.engine.Docker(tb, "cp", file, m.container+":"+to)
}

// Get copies a file or a folder of the system's.
func (m *Debian) Get(tb testing.TB, path, to string) {
	tb.Helper()
	m.engine.Docker(tb, "cp", m.container+":"+path, to)
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
