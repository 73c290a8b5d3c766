package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const composeBinary = "e2e/tools/bin/docker-compose"

// DockerEngine is a Docker engine of a test's own, beside which another one may run:
// it has namespaces of its own for networks, mounts and processes. What it makes of
// these (bridges, rules of the firewall, containers) ends with its first process.
type DockerEngine struct {
	dir     string // of its socket, images and containers
	docker  string // the client
	compose string
	cgroups string // the parent of its containers' control groups
	process *process
}

// Docker starts an engine for one test. It needs root.
func Docker(tb testing.TB) *DockerEngine {
	tb.Helper()
	d, err := newDocker()
	if err != nil {
		tb.Fatalf("start a Docker engine: %v", err)
	}
	tb.Cleanup(func() {
		if err := d.remove(); err != nil {
			tb.Errorf("remove what the Docker engine leaves: %v", err)
		}
	})
	return d
}

func newDocker() (*DockerEngine, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("only root may start one")
	}
	for _, program := range []string{"dockerd", "docker-init", "containerd", "runc", "iptables", "busybox"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%w: %w", err, errMissing)
		}
	}
	d := &DockerEngine{}
	var err error
	if d.docker, err = exec.LookPath("docker"); err != nil {
		return nil, fmt.Errorf("%w: %w", err, errMissing)
	}
	if d.compose, err = findTool(composeBinary); err != nil {
		return nil, err
	}
	if d.dir, err = os.MkdirTemp("", "docker-"); err != nil {
		return nil, fmt.Errorf("create its folder: %w", err)
	}
	d.cgroups = filepath.Base(d.dir)
	if err := d.start(); err != nil {
		return nil, errors.Join(err, d.remove())
	}
	return d, nil
}

// engineScript is what the first process of the namespaces does, before it is the
// init that the engine's processes are left to.
const engineScript = `
set -e
busybox mount --make-rprivate /
busybox mount -t proc proc /proc
busybox ip link set lo up
exec docker-init -- dockerd "$@"`

func (d *DockerEngine) start() error {
	config := filepath.Join(d.dir, "daemon.json") // not the machine's
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		return fmt.Errorf("write its configuration: %w", err)
	}
	cmd := exec.CommandContext(context.Background(), "sh", "-c", engineScript, "dockerd",
		"--config-file="+config, "--host="+d.host(), "--pidfile="+filepath.Join(d.dir, "pid"),
		"--data-root="+filepath.Join(d.dir, "data"), "--exec-root="+filepath.Join(d.dir, "exec"),
		"--bridge=none", "--userland-proxy=false", "--exec-opt=native.cgroupdriver=cgroupfs", "--cgroup-parent=/"+d.cgroups)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	p, err := launch(cmd, filepath.Join(d.dir, "log"), syscall.SIGKILL)
	if err != nil {
		return err
	}
	d.process = p
	return p.ready(func(ctx context.Context) error {
		_, err := d.run(ctx, "", d.docker, "version")
		return err
	})
}

func (d *DockerEngine) host() string { return "unix://" + filepath.Join(d.dir, "sock") }

// run runs a client of the engine's, and returns its standard output.
func (d *DockerEngine) run(ctx context.Context, input string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	// The classic builder asks no registry.
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+d.host(), "DOCKER_CONFIG="+d.dir, "DOCKER_BUILDKIT=0", "COMPOSE_PROGRESS=plain")
	cmd.Dir, _ = findTop()
	if input != "" {
		in, err := os.Open(input)
		if err != nil {
			return "", err
		}
		defer in.Close()
		cmd.Stdin = in
	}
	var out, errout strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errout
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out.String(), errout.String())
	}
	return out.String(), nil
}

// TryDocker runs the client with arguments, and returns what it prints.
func (d *DockerEngine) TryDocker(ctx context.Context, args ...string) (string, error) {
	return d.run(ctx, "", d.docker, args...)
}

// Docker is TryDocker for what must succeed.
func (d *DockerEngine) Docker(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err := d.TryDocker(tb.Context(), args...)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// TryCompose runs Compose at the top of the repository, and returns what it prints.
func (d *DockerEngine) TryCompose(ctx context.Context, args ...string) (string, error) {
	return d.run(ctx, "", d.compose, args...)
}

// Compose is TryCompose for what must succeed.
func (d *DockerEngine) Compose(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err := d.TryCompose(tb.Context(), args...)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// Import makes an image of a folder's files, changed as lines of a Dockerfile say.
func (d *DockerEngine) Import(tb testing.TB, dir, name string, changes ...string) {
	tb.Helper()
	archive := filepath.Join(tb.TempDir(), "root.tar")
	if out, err := exec.CommandContext(tb.Context(), "tar", "--numeric-owner", "--owner=0", "--group=0", "-C", dir, "-cf", archive, ".").CombinedOutput(); err != nil {
		tb.Fatalf("pack %s: %v\n%s", dir, err, out)
	}
	d.ImportArchive(tb, archive, name, changes...)
	if err := os.Remove(archive); err != nil {
		tb.Fatal(err)
	}
}

// ImportArchive is Import of what was packed already.
func (d *DockerEngine) ImportArchive(tb testing.TB, archive, name string, changes ...string) {
	tb.Helper()
	args := []string{"import"}
	for _, change := range changes {
		args = append(args, "--change", change)
	}
	if _, err := d.run(tb.Context(), archive, d.docker, append(args, "-", name)...); err != nil {
		tb.Fatal(err)
	}
}

// Dial connects to an address of the engine's network, as a program beside the engine would.
func (d *DockerEngine) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and it ends with this goroutine: it is in another network
		var r result
		if r.err = d.enterNetwork(); r.err == nil {
			r.conn, r.err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
		}
		done <- r
	}()
	r := <-done
	return r.conn, r.err
}

func (d *DockerEngine) enterNetwork() error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", d.process.cmd.Process.Pid))
	if err != nil {
		return err
	}
	defer ns.Close()
	return unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
}

// remove ends every process of the engine's at once, and with them its namespaces.
func (d *DockerEngine) remove() error {
	if d.process != nil {
		d.process.stop(syscall.SIGKILL)
	}
	parents, err := filepath.Glob("/sys/fs/cgroup/*/" + d.cgroups)
	if _, gone := os.Stat("/sys/fs/cgroup/" + d.cgroups); gone == nil {
		parents = append(parents, "/sys/fs/cgroup/"+d.cgroups) // version 2
	}
	for _, parent := range parents {
		err = errors.Join(err, removeGroups(parent))
	}
	return errors.Join(err, os.RemoveAll(d.dir))
}

// removeGroups removes a control group with those below it. Their files belong to
// the kernel, and go with them.
func removeGroups(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // /sys/fs/cgroup has links from one name to another
	}
	for _, entry := range entries {
		if entry.IsDir() {
			err = errors.Join(err, removeGroups(filepath.Join(dir, entry.Name())))
		}
	}
	if gone := syscall.Rmdir(dir); gone != nil && !errors.Is(gone, syscall.ENOENT) {
		err = errors.Join(err, fmt.Errorf("remove %s: %w", dir, gone))
	}
	return err
}
