package server

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// postgresUser is who owns a server, unless a test wants another superuser, and
// the user as whom it runs when the tests run as root, which PostgreSQL refuses.
const postgresUser = "postgres"

// PostgresServer is a PostgreSQL server that trusts everybody on this host.
type PostgresServer struct {
	// Superuser is who the server was made with: "postgres".
	Superuser string
	// Dir holds its Unix socket, its data folder and its log.
	Dir string
	// Port is its port on 127.0.0.1 and the number in its socket's name.
	Port int

	initdb, postgres string
	settings         []string
	credential       *syscall.Credential // nil: this process's own
	process          *process
}

// Postgres starts a server with an empty database cluster for one test.
func Postgres(tb testing.TB) *PostgresServer {
	tb.Helper()
	return PostgresOf(tb, postgresUser)
}

// PostgresOf is Postgres with a superuser of the given name, and with settings
// of the server's ("wal_level=logical").
func PostgresOf(tb testing.TB, superuser string, settings ...string) *PostgresServer {
	tb.Helper()
	p, err := newPostgres(superuser, settings)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.remove)
	return p
}

// DSN returns the URL of a database, for its superuser, over TCP.
func (p *PostgresServer) DSN(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User(p.Superuser),
		Host:     fmt.Sprintf("127.0.0.1:%d", p.Port),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// SocketDSN is DSN over the Unix socket.
func (p *PostgresServer) SocketDSN(database string) string {
	query := url.Values{"host": {p.Dir}, "port": {strconv.Itoa(p.Port)}, "sslmode": {"disable"}}
	u := url.URL{Scheme: "postgres", User: url.User(p.Superuser), Path: "/" + database, RawQuery: query.Encode()}
	return u.String()
}

// Stop ends the server in an orderly way, without waiting for its clients.
func (p *PostgresServer) Stop(tb testing.TB) {
	tb.Helper()
	p.process.stop(syscall.SIGINT)
}

// Kill ends the server and all of its processes at once, as a crash would,
// and returns when none is left.
func (p *PostgresServer) Kill(tb testing.TB) {
	tb.Helper()
	backends, err := children(p.process.cmd.Process.Pid)
	if err != nil {
		tb.Fatalf("find PostgreSQL's processes: %v", err)
	}
	p.process.stop(syscall.SIGKILL)
	if err := killAll(backends); err != nil {
		tb.Fatalf("kill PostgreSQL's processes: %v", err)
	}
}

// Start starts a stopped or killed server again, on the same data and port.
func (p *PostgresServer) Start(tb testing.TB) {
	tb.Helper()
	if err := p.start(); err != nil {
		tb.Fatal(err)
	}
}

func newPostgres(superuser string, settings []string) (*PostgresServer, error) {
	p := &PostgresServer{Superuser: superuser, settings: settings}
	var err error
	if p.initdb, err = findPostgres("initdb"); err != nil {
		return nil, err
	}
	if p.postgres, err = findPostgres("postgres"); err != nil {
		return nil, err
	}
	if p.credential, err = unprivileged(); err != nil {
		return nil, err
	}
	// Not t.TempDir, whose parent only this user may enter.
	if p.Dir, err = os.MkdirTemp("", "postgres-"); err != nil {
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	if err := p.create(); err != nil {
		return nil, errors.Join(fmt.Errorf("start PostgreSQL: %w", err), os.RemoveAll(p.Dir))
	}
	return p, nil
}

// create makes the database cluster and starts the server.
func (p *PostgresServer) create() error {
	if p.credential != nil {
		if err := os.Chown(p.Dir, int(p.credential.Uid), int(p.credential.Gid)); err != nil {
			return fmt.Errorf("hand over data folder: %w", err)
		}
	}
	if out, err := p.makeData().CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return onFreePort(func(port int) error {
		p.Port = port
		return p.start()
	})
}

// makeData makes the database cluster.
func (p *PostgresServer) makeData() *exec.Cmd {
	return p.command(p.initdb, "-D", p.data(), "-U", p.Superuser, "-A", "trust", "-N", "-E", "UTF8", "--locale=C")
}

func (p *PostgresServer) start() error {
	// What a killed server had written is in the system's cache, so that
	// flushing it to the disk would only take time.
	cmd := p.command(p.postgres, "-D", p.data(), "-p", strconv.Itoa(p.Port), "-c", "fsync=off",
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+p.Dir)
	for _, s := range p.settings {
		cmd.Args = append(cmd.Args, "-c", s)
	}
	process, err := launch(cmd, filepath.Join(p.Dir, "log"), syscall.SIGQUIT)
	if err != nil {
		return err
	}
	p.process = process
	return process.ready(p.health)
}

func (p *PostgresServer) health(ctx context.Context) error {
	conn, err := pgconn.Connect(ctx, p.DSN("postgres"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

func (p *PostgresServer) data() string { return filepath.Join(p.Dir, "data") }

func (p *PostgresServer) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), name, args...) // ended by Stop and Kill
	cmd.Dir = p.Dir
	cmd.Env = []string{"HOME=" + p.Dir, "PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.credential}
	return cmd
}

func (p *PostgresServer) remove() {
	p.process.stop(syscall.SIGINT)
	_ = os.RemoveAll(p.Dir) // a leftover in the temporary folder harms no test
}

// unprivileged returns whom to run the server as: nil for this process's user.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	account, err := user.Lookup(postgresUser)
	if err != nil {
		return nil, fmt.Errorf("find the user to run PostgreSQL as, since root may not: %w: %w", err, errMissing)
	}
	uid, uidErr := strconv.ParseUint(account.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(account.Gid, 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return nil, fmt.Errorf("read ids of user %s: %w", postgresUser, err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
