package server

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// PostgresFolder is a PostgreSQL server that commands start and stop, as a host's service
// manager does, on whatever data lies in its folder.
type PostgresFolder struct {
	// Dir holds its Unix socket, its data folder and its log.
	Dir string
	// Port is its port on 127.0.0.1.
	Port int
	// Durable has it wait for its disk, as a real server does. Tests that do not measure
	// have no use for that.
	Durable bool

	made *PostgresServer // with its programs and its user
}

// NewPostgresFolder makes a data folder for one test, with lines for its configuration.
// Nothing is started.
func NewPostgresFolder(tb testing.TB, lines ...string) *PostgresFolder {
	tb.Helper()
	made, err := newPostgres(postgresUser, nil)
	if err != nil {
		tb.Fatal(err)
	}
	made.Stop(tb) // its port is free for a while: the system hands out others first
	p := &PostgresFolder{Dir: made.Dir, Port: made.Port, made: made}
	tb.Cleanup(func() {
		_ = p.command(p.StopCommand()).Run() // it may be stopped, or its folder gone
		_ = os.RemoveAll(p.Dir)
	})
	p.configure(tb, lines)
	return p
}

func (p *PostgresFolder) configure(tb testing.TB, lines []string) {
	tb.Helper()
	f, err := os.OpenFile(filepath.Join(p.Data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("\n" + strings.Join(lines, "\n") + "\n"); err != nil {
		tb.Fatal(err)
	}
}

// Data is its data folder.
func (p *PostgresFolder) Data() string { return p.made.data() }

// DSN returns the URL of a database, for its superuser.
func (p *PostgresFolder) DSN(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(postgresUser), Host: fmt.Sprintf("127.0.0.1:%d", p.Port), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// StartCommand starts it, if it does not run, and waits until it takes connections.
func (p *PostgresFolder) StartCommand() []string {
	options := fmt.Sprintf("-p %d -c fsync=%t -c listen_addresses=127.0.0.1 -c unix_socket_directories=%s", p.Port, p.Durable, p.Dir)
	return p.as(`"$1" -D "$2" status >/dev/null || "$1" -D "$2" -w -s -l "$3" -o "$4" start`, filepath.Join(p.Dir, "server.log"), options)
}

// StopCommand stops it fast, if it runs, and waits until it has ended.
func (p *PostgresFolder) StopCommand() []string {
	return p.as(`if "$1" -D "$2" status >/dev/null; then "$1" -D "$2" -w -s -m fast stop; fi`)
}

// Make makes a data folder where there is none.
func (p *PostgresFolder) Make(tb testing.TB) {
	tb.Helper()
	if out, err := p.made.makeData().CombinedOutput(); err != nil {
		tb.Fatalf("initdb: %v\n%s", err, out)
	}
}

// Program is the path of one of its programs, which lie side by side.
func (p *PostgresFolder) Program(name string) string {
	path, err := filepath.EvalSymlinks(p.made.postgres) // PATH may have some of them alone
	if err != nil {
		path = p.made.postgres
	}
	return filepath.Join(filepath.Dir(path), name)
}

// AsOwner is a command of the server's user, in the server's folder.
func (p *PostgresFolder) AsOwner(name string, args ...string) *exec.Cmd {
	return p.made.command(name, args...)
}

// as is a command of the server's user.
func (p *PostgresFolder) as(script string, args ...string) []string {
	argv := append([]string{"sh", "-c", script, "sh", p.Program("pg_ctl"), p.Data()}, args...)
	if c := p.made.credential; c != nil {
		argv = append([]string{"setpriv", fmt.Sprint("--reuid=", c.Uid), fmt.Sprint("--regid=", c.Gid), "--clear-groups"}, argv...)
	}
	return argv
}

func (p *PostgresFolder) command(argv []string) *exec.Cmd {
	cmd := p.made.command(argv[0], argv[1:]...)
	cmd.SysProcAttr = nil // the command itself changes to the server's user
	cmd.Dir = "/"
	return cmd
}

// Start starts it.
func (p *PostgresFolder) Start(tb testing.TB) {
	tb.Helper()
	if out, err := p.command(p.StartCommand()).CombinedOutput(); err != nil {
		log, _ := os.ReadFile(filepath.Join(p.Dir, "server.log"))
		tb.Fatalf("start PostgreSQL: %v\n%s\n%s", err, out, log)
	}
}

// PID is the id of its first process, while it runs.
func (p *PostgresFolder) PID(tb testing.TB) int {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(p.Data(), "postmaster.pid"))
	if err != nil {
		tb.Fatalf("find PostgreSQL: %v", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		tb.Fatalf("find PostgreSQL: %v", err)
	}
	return pid
}

// Processes are the ids of those that run: the first one, and its children.
func (p *PostgresFolder) Processes(tb testing.TB) []int {
	tb.Helper()
	pid := p.PID(tb)
	all, err := children(pid)
	if err != nil {
		tb.Fatalf("find PostgreSQL's processes: %v", err)
	}
	return append(all, pid)
}

// Kill ends it and all of its processes at once, as a crash would.
func (p *PostgresFolder) Kill(tb testing.TB) {
	tb.Helper()
	pid := p.PID(tb)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil { // it makes no more processes
		tb.Fatalf("kill PostgreSQL: %v", err)
	}
	backends, err := children(pid)
	if err = errors.Join(err, syscall.Kill(pid, syscall.SIGKILL)); err != nil {
		tb.Fatalf("kill PostgreSQL: %v", err)
	}
	if err := killAll(backends); err != nil {
		tb.Fatalf("kill PostgreSQL's processes: %v", err)
	}
	// As long as it is there, and be it dead, pg_ctl takes it for one that runs.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); syscall.Kill(pid, 0) == nil; <-tick.C {
		if time.Now().After(end) {
			tb.Fatal("PostgreSQL was killed, and nobody has waited for its process")
		}
	}
}

// Runs tells whether it runs.
func (p *PostgresFolder) Runs() bool {
	return p.command(p.as(`"$1" -D "$2" status >/dev/null`)).Run() == nil
}

// Stop stops it fast.
func (p *PostgresFolder) Stop(tb testing.TB) {
	tb.Helper()
	if out, err := p.command(p.StopCommand()).CombinedOutput(); err != nil {
		tb.Fatalf("stop PostgreSQL: %v\n%s", err, out)
	}
}
