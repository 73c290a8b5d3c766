package postgrescluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// testServer is a server made by initdb, which pg_ctl starts and stops.
type testServer struct {
	t     testing.TB
	dir   string // of its socket, its log and its data
	data  string
	port  int
	bin   string
	owner *syscall.Credential // nil: this process's user
}

// newTestServer makes a server, with lines for its configuration, and starts it.
func newTestServer(t testing.TB, lines ...string) *testServer {
	t.Helper()
	dir, err := os.MkdirTemp("", "cluster-") //nolint:usetesting // the parent of t.TempDir is one that only this user may enter
	sourcetest.Must(t, err)
	s := &testServer{t: t, dir: dir, data: filepath.Join(dir, "data"), bin: testPrograms(t), port: freePort(t)}
	if os.Geteuid() == 0 {
		account, err := user.Lookup("postgres")
		sourcetest.Must(t, err)
		uid, err := strconv.Atoi(account.Uid)
		sourcetest.Must(t, err)
		gid, err := strconv.Atoi(account.Gid)
		sourcetest.Must(t, err)
		s.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		sourcetest.Must(t, os.Chown(dir, uid, gid))
	}
	t.Cleanup(func() {
		_ = s.command(s.stopCommand()...).Run() // it may be stopped
		_ = os.RemoveAll(dir)
	})
	s.fill()
	s.configure(lines...)
	s.run(s.startCommand()...)
	return s
}

// template is a data folder that initdb has made: to copy it is quicker.
var template = struct {
	once sync.Once
	path string
}{}

// fill makes a data folder. All have the system identifier of the template.
func (s *testServer) fill() {
	s.t.Helper()
	template.once.Do(func() {
		dir, err := os.MkdirTemp("", "initdb-")
		sourcetest.Must(s.t, err)
		if s.owner != nil {
			sourcetest.Must(s.t, os.Chown(dir, int(s.owner.Uid), int(s.owner.Gid)))
		}
		template.path = dir
		s.initdb(filepath.Join(dir, "data"))
	})
	s.run("cp", "-a", "--reflink=auto", filepath.Join(template.path, "data"), s.data)
}

func (s *testServer) initdb(path string) {
	s.t.Helper()
	s.run(filepath.Join(s.bin, "initdb"), "-D", path, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C", "-k")
}

// TestMain removes the template.
func TestMain(m *testing.M) {
	// A server that is killed is this process's to wait for: else it stays as a zombie,
	// which pg_ctl takes for a server, where no init does that.
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	code := m.Run()
	if template.path != "" {
		_ = os.RemoveAll(template.path)
	}
	os.Exit(code)
}

func testPrograms(t testing.TB) string {
	t.Helper()
	for _, path := range pgclient.ToolPaths("initdb") {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(real)
		}
	}
	t.Fatal("PostgreSQL is not installed")
	return ""
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	sourcetest.Must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// configure adds lines to the server's configuration.
func (s *testServer) configure(lines ...string) {
	s.t.Helper()
	f, err := os.OpenFile(filepath.Join(s.data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	sourcetest.Must(s.t, err)
	_, err = f.WriteString("\n" + strings.Join(lines, "\n") + "\n")
	sourcetest.Must(s.t, err)
	sourcetest.Must(s.t, f.Close())
}

// as is what makes a command one of the server's owner.
func (s *testServer) as(argv ...string) []string {
	if s.owner == nil {
		return argv
	}
	return append([]string{"setpriv", fmt.Sprint("--reuid=", s.owner.Uid), fmt.Sprint("--regid=", s.owner.Gid), "--clear-groups"}, argv...)
}

// startCommand starts the server, if it does not run. It says where it listens, so that it
// does there whatever data it has.
func (s *testServer) startCommand() []string {
	options := fmt.Sprintf("-p %d -c listen_addresses=127.0.0.1 -c unix_socket_directories=%s -c fsync=off", s.port, s.dir)
	ctl := filepath.Join(s.bin, "pg_ctl")
	return s.as("sh", "-c", `"$1" -D "$2" status >/dev/null || "$1" -D "$2" -w -s -l "$3" -o "$4" start`, "sh", ctl, s.data, filepath.Join(s.dir, "log"), options)
}

func (s *testServer) stopCommand() []string {
	ctl := filepath.Join(s.bin, "pg_ctl")
	return s.as("sh", "-c", `if "$1" -D "$2" status >/dev/null; then "$1" -D "$2" -w -s -m fast stop; fi`, "sh", ctl, s.data)
}

func (s *testServer) command(argv ...string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = "/", []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + s.dir}
	if s.owner != nil && argv[0] != "setpriv" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	}
	return cmd
}

func (s *testServer) run(argv ...string) {
	s.t.Helper()
	if out, err := s.command(argv...).CombinedOutput(); err != nil {
		log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		s.t.Fatalf("%s: %v\n%s\n%s", filepath.Base(argv[0]), err, out, log)
	}
}

func (s *testServer) stop()  { s.t.Helper(); s.run(s.stopCommand()...) }
func (s *testServer) start() { s.t.Helper(); s.run(s.startCommand()...) }

// kill ends the server and all of its processes at once, as a power cut would.
func (s *testServer) kill() {
	s.t.Helper()
	data := sourcetest.Held(s.t, s.data)
	pid, err := runningIn(data)
	sourcetest.Must(s.t, err)
	if pid == 0 {
		s.t.Fatal("the server does not run")
	}
	sourcetest.Must(s.t, syscall.Kill(pid, syscall.SIGSTOP)) // it makes no more processes
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	sourcetest.Must(s.t, err)
	all := []int{pid}
	for _, child := range strings.Fields(string(children)) {
		n, err := strconv.Atoi(child)
		sourcetest.Must(s.t, err)
		all = append(all, n)
	}
	for _, n := range all {
		_ = syscall.Kill(n, syscall.SIGKILL) // it may have ended
	}
	if s.bin == "" { // a server of the source's own, which waits for it
		eventually(s.t, func() bool {
			pid, err := runningIn(data)
			return err == nil && pid == 0
		})
		all = all[1:]
	}
	for _, n := range all {
		_, _ = syscall.Wait4(n, nil, 0, nil) // it may have had another parent
	}
}

func (s *testServer) url() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port)
}

// sql runs statements.
func (s *testServer) sql(statements ...string) {
	s.t.Helper()
	for _, statement := range statements {
		if _, err := s.exec(statement); err != nil {
			s.t.Fatalf("%s: %v", statement, err)
		}
	}
}

func (s *testServer) exec(statement string) (int64, error) {
	ctx := context.WithoutCancel(s.t.Context())
	conn, err := pgx.Connect(ctx, s.url())
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	tag, err := conn.Exec(ctx, statement)
	return tag.RowsAffected(), err
}

// ask returns the first column of the first row of a query, as text.
func (s *testServer) ask(query string) string {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.url())
	sourcetest.Must(s.t, err)
	defer conn.Close(context.WithoutCancel(s.t.Context()))
	var text string
	if err := conn.QueryRow(s.t.Context(), "SELECT ("+query+")::text").Scan(&text); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return text
}

// pgbench works on the server until the end of the function that it returns.
func (s *testServer) pgbench(args ...string) (end func()) {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(s.bin, "pgbench"), append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-U", "postgres"}, append(args, "postgres")...)...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	sourcetest.Must(s.t, cmd.Start())
	var ended bool
	end = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	s.t.Cleanup(end)
	return end
}

// bench makes pgbench's tables.
func (s *testServer) bench(scale int) {
	s.t.Helper()
	out, err := exec.Command(filepath.Join(s.bin, "pgbench"), "-i", "-q", "-s", strconv.Itoa(scale), "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-U", "postgres", "postgres").CombinedOutput()
	if err != nil {
		s.t.Fatalf("pgbench -i: %v\n%s", err, out)
	}
}

// rows describes every row of pgbench's tables.
func (s *testServer) rows() string {
	s.t.Helper()
	var all []string
	for _, table := range []string{"pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history"} {
		all = append(all, s.ask("SELECT count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)), 0) FROM "+table+" t"))
	}
	return strings.Join(all, "; ")
}

// source makes the source of a server.
func (s *testServer) source(change func(*Config)) *Source {
	s.t.Helper()
	cfg := Config{
		DataDir: s.data, URL: s.url(), Start: s.startCommand(), Stop: s.stopCommand(), Timeout: time.Minute,
		Scratch: filepath.Join(s.dir, "scratch"),
	}
	if change != nil {
		change(&cfg)
	}
	src, err := New("db", cfg)
	sourcetest.Must(s.t, err)
	src.dumper.fast = true
	return src
}

// place puts a backup into the place of a server's data, and starts the server.
func (s *testServer) place(src *Source, v *sourcetest.Vault, e source.Entry, epoch uint64) {
	s.t.Helper()
	v.Stage(s.t, src, e)
	sourcetest.Must(s.t, src.Swap(s.t.Context()))
	sourcetest.Must(s.t, src.Discard(s.t.Context()))
	sourcetest.Must(s.t, src.Start(s.t.Context(), epoch))
}

// eventually waits for what is bound to come.
func eventually(t testing.TB, check func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("not within a minute")
		}
	}
}
