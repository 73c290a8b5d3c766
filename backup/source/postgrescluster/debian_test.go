package postgrescluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// debianServer is a server as Debian's packages make it: its configuration lies in
// /etc/postgresql, its data in /var/lib/postgresql, and pg_ctlcluster starts it.
type debianServer struct {
	t       *testing.T
	version string
	name    string
	port    int
}

func newDebianServer(t *testing.T, name string) *debianServer {
	t.Helper()
	sourcetest.NeedRoot(t)
	s := &debianServer{t: t, version: filepath.Base(filepath.Dir(testPrograms(t))), name: fmt.Sprintf("understudy_%s_%d", name, os.Getpid()), port: freePort(t)}
	t.Cleanup(func() { _ = exec.Command("pg_dropcluster", "--stop", s.version, s.name).Run() })
	s.run("pg_createcluster", s.version, s.name, "-p", strconv.Itoa(s.port), "--start", "--", "--no-sync")
	s.run("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "psql", "-p", strconv.Itoa(s.port), "-c",
		"CREATE ROLE understudy LOGIN REPLICATION PASSWORD 'secret'; GRANT pg_monitor, pg_checkpoint TO understudy; CREATE TABLE t AS SELECT 1 AS n; GRANT SELECT ON t TO understudy")
	return s
}

func (s *debianServer) run(argv ...string) {
	s.t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %v\n%s", argv[:2], err, out)
	}
}

func (s *debianServer) data() string {
	return filepath.Join("/var/lib/postgresql", s.version, s.name)
}

func (s *debianServer) source() *Source {
	s.t.Helper()
	src, err := New("db", Config{
		DataDir: s.data(), URL: fmt.Sprintf("postgres://understudy:secret@127.0.0.1:%d/postgres", s.port),
		Start: []string{"pg_ctlcluster", s.version, s.name, "start"}, Stop: []string{"pg_ctlcluster", s.version, s.name, "stop", "-m", "fast"},
		Timeout: time.Minute, Scratch: filepath.Join(s.t.TempDir(), "scratch"),
	})
	sourcetest.Must(s.t, err)
	src.dumper.fast = true
	return src
}

// TestDebiansOwnLayout: the agent is root, the data belongs to postgres, and the
// configuration is the host's own.
func TestDebiansOwnLayout(t *testing.T) {
	t.Parallel()
	a, b := newDebianServer(t, "a"), newDebianServer(t, "b")
	from, to := a.source(), b.source()
	sourcetest.Must(t, from.Check(t.Context()))
	v := sourcetest.NewVault(t)
	v.Backup(t, from)
	a.run("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "psql", "-p", strconv.Itoa(a.port), "-c", "INSERT INTO t VALUES (2)")
	e, _ := v.Backup(t, from)
	if f := factsIn(t, e); f.Config != filepath.Join("/etc/postgresql", a.version, a.name) || f.User != "postgres" || f.Mode != 0o700 {
		t.Errorf("facts: %s", e.Facts)
	}
	sourcetest.Must(t, to.CheckRestore(t.Context()))
	v.Stage(t, to, e)
	sourcetest.Must(t, to.Swap(t.Context()))
	sourcetest.Must(t, to.Start(t.Context(), 2))
	conn, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://understudy:secret@127.0.0.1:%d/postgres", b.port))
	sourcetest.Must(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	var sum, port int
	sourcetest.Must(t, conn.QueryRow(t.Context(), "SELECT sum(n), current_setting('port')::int FROM t").Scan(&sum, &port))
	if sum != 3 || port != b.port {
		t.Errorf("sum %d, port %d", sum, port)
	}
	sourcetest.Must(t, to.Check(t.Context()))

	// And back: the server that was replaced runs again.
	sourcetest.Must(t, to.SwapBack(t.Context()))
	sourcetest.Must(t, to.Start(t.Context(), 3))
	sourcetest.MustSweep(t, to)
	again, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://understudy:secret@127.0.0.1:%d/postgres", b.port))
	sourcetest.Must(t, err)
	defer again.Close(context.WithoutCancel(t.Context()))
	sourcetest.Must(t, again.QueryRow(t.Context(), "SELECT sum(n) FROM t").Scan(&sum))
	if sum != 1 {
		t.Errorf("after the swap back: sum %d", sum)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(b.data()), "."+b.name+"*")); err != nil || len(left) > 0 {
		t.Errorf("left beside the data folder: %v", left)
	}
}
