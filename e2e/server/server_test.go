package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/minio/minio-go/v7"
)

// orphanEnv makes the test binary a process that starts a server and is killed.
const orphanEnv = "SERVER_TEST_ORPHAN"

func TestMain(m *testing.M) {
	if os.Getenv(orphanEnv) != "" {
		server, err := newMinIO("")
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(server.process.cmd.Process.Pid, server.dir)
		select {}
	}
	os.Exit(Run(m))
}

func TestServerDiesWithTheTestProcess(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), orphanEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	var dir string
	if _, err := fmt.Fscan(out, &pid, &dir); err != nil {
		t.Fatalf("read the server's process id: %v", err)
	}
	if !alive(pid) {
		t.Fatal("the server does not run")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	deadline := time.After(stopTimeout)
	for alive(pid) {
		select {
		case <-time.After(pollEvery):
		case <-deadline:
			t.Fatal("the server outlives the test process")
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

// answers reports whether somebody listens at a TCP address.
func answers(t *testing.T, address string) bool {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

func TestMinIOKeepsDataAndAddressAcrossRestart(t *testing.T) {
	m := MinIO(t)
	bucket := "kept"
	if err := m.Client(t).MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	m.Stop(t)
	if answers(t, m.Address) {
		t.Error("a stopped server still answers")
	}
	m.Start(t)
	found, err := m.Client(t).BucketExists(t.Context(), bucket)
	if err != nil || !found {
		t.Errorf("bucket exists: %v, %v", found, err)
	}
}

func TestSharedMinIOIsOneServer(t *testing.T) {
	a, b := SharedMinIO(t), SharedMinIO(t)
	if a != b {
		t.Error("two servers")
	}
	if a.NewBucket(t) == b.NewBucket(t) {
		t.Error("one bucket for two tests")
	}
}

func TestPostgresKeepsCommittedRowsThroughKill(t *testing.T) {
	p := Postgres(t)
	exec := func(dsn, sql string) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(p.DSN("postgres"), "create table kept as select 1 as n")
	idle, err := pgx.Connect(t.Context(), p.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	p.Kill(t)
	if err := idle.Ping(t.Context()); err == nil {
		t.Error("a killed server still answers")
	}
	_ = idle.Close(t.Context()) // the connection is broken
	p.Start(t)
	exec(p.SocketDSN("postgres"), "select 1 / n from kept")
	p.Stop(t)
	if answers(t, fmt.Sprintf("127.0.0.1:%d", p.Port)) {
		t.Error("a stopped server still answers")
	}
	p.Start(t)
	exec(p.DSN("postgres"), "drop table kept")
}

func TestServersLeaveNothingBehind(t *testing.T) {
	var dir string
	var address string
	t.Run("start", func(t *testing.T) {
		m, p := MinIO(t), Postgres(t)
		dir, address = p.Dir, m.Address
	})
	if _, err := os.Stat(filepath.Join(dir, "data")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("data folder: %v, want none", err)
	}
	if answers(t, address) {
		t.Error("MinIO still listens")
	}
}

func TestMissingToolSaysWhatToInstall(t *testing.T) {
	if _, err := findTool("e2e/tools/bin/nothing"); !errors.Is(err, errMissing) {
		t.Errorf("error %v, want one that names make setup", err)
	}
	if _, err := findPostgres("pg_nothing"); !errors.Is(err, errMissing) {
		t.Errorf("error %v, want one that names make setup", err)
	}
}
