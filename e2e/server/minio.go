package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sys/unix"
)

const (
	minioRegion = "us-east-1"
	minioBinary = "e2e/tools/bin/minio"
)

// MinIOServer is a MinIO server with one drive, and its administrator's
// credentials.
type MinIOServer struct {
	// Address is its host and port, for plain HTTP.
	Address string
	// AccessKey and SecretKey are its administrator's credentials.
	AccessKey, SecretKey string

	binary, dir string
	process     *process
}

// MinIO starts a server for one test.
func MinIO(tb testing.TB) *MinIOServer {
	tb.Helper()
	return MinIOBelow(tb, "")
}

// MinIOBelow is MinIO with its drive in a folder below dir; "": below that of temporary
// files.
func MinIOBelow(tb testing.TB, dir string) *MinIOServer {
	tb.Helper()
	m, err := newMinIO(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(m.remove)
	return m
}

// NewBucket creates an empty bucket and returns its s3:// URL, without a
// prefix, which may be added as the URL's path.
func (m *MinIOServer) NewBucket(tb testing.TB) string {
	tb.Helper()
	return m.newBucket(tb, minio.MakeBucketOptions{Region: minioRegion})
}

// NewLockedBucket is NewBucket for a bucket that keeps versions, and can lock
// them.
func (m *MinIOServer) NewLockedBucket(tb testing.TB) string {
	tb.Helper()
	return m.newBucket(tb, minio.MakeBucketOptions{Region: minioRegion, ObjectLocking: true})
}

// LockByDefault gives a bucket the rule that what is written there is locked in
// governance mode, for so many days or years.
func (m *MinIOServer) LockByDefault(tb testing.TB, bucket string, n uint, years bool) error {
	tb.Helper()
	mode, unit := minio.Governance, minio.Days
	if years {
		unit = minio.Years
	}
	return m.Client(tb).SetBucketObjectLockConfig(tb.Context(), bucket, &mode, &n, &unit)
}

func (m *MinIOServer) newBucket(tb testing.TB, options minio.MakeBucketOptions) string {
	tb.Helper()
	name := "test-" + strings.ToLower(rand.Text()[:16])
	if err := m.Client(tb).MakeBucket(tb.Context(), name, options); err != nil {
		tb.Fatalf("create bucket: %v", err)
	}
	return m.URL(name)
}

// URL returns the s3:// URL of a bucket.
func (m *MinIOServer) URL(bucket string) string {
	query := url.Values{
		"endpoint":       {"http://" + m.Address},
		"region":         {minioRegion},
		"use_path_style": {"true"},
	}
	return (&url.URL{Scheme: "s3", Host: bucket, RawQuery: query.Encode()}).String()
}

// Env returns the environment variables with which a process may use the
// server, as NAME=value.
func (m *MinIOServer) Env() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + m.AccessKey, "AWS_SECRET_ACCESS_KEY=" + m.SecretKey}
}

// Setenv sets what Env returns in this process, for the time of the test.
func (m *MinIOServer) Setenv(tb testing.TB) {
	tb.Helper()
	for _, variable := range m.Env() {
		name, value, _ := strings.Cut(variable, "=")
		tb.Setenv(name, value)
	}
}

// Client returns a client for what a test wants to do behind the back of what
// it tests.
func (m *MinIOServer) Client(tb testing.TB) *minio.Client {
	tb.Helper()
	client, err := minio.New(m.Address, &minio.Options{
		Creds:  credentials.NewStaticV4(m.AccessKey, m.SecretKey, ""),
		Region: minioRegion,
	})
	if err != nil {
		tb.Fatalf("create MinIO client: %v", err)
	}
	return client
}

// ClientOf is Client with the credentials of SetUser.
func (m *MinIOServer) ClientOf(tb testing.TB, env []string) *minio.Client {
	tb.Helper()
	_, name, _ := strings.Cut(env[0], "=")
	_, secret, _ := strings.Cut(env[1], "=")
	client, err := minio.New(m.Address, &minio.Options{Creds: credentials.NewStaticV4(name, secret, ""), Region: minioRegion})
	if err != nil {
		tb.Fatalf("create MinIO client: %v", err)
	}
	return client
}

// PID is the id of the server's process.
func (m *MinIOServer) PID() int { return m.process.cmd.Process.Pid }

// Stop ends the server in an orderly way; its data and port stay its own.
func (m *MinIOServer) Stop(tb testing.TB) {
	tb.Helper()
	m.process.stop(syscall.SIGTERM)
}

// Start starts a stopped server again.
func (m *MinIOServer) Start(tb testing.TB) {
	tb.Helper()
	if err := m.start(); err != nil {
		tb.Fatal(err)
	}
}

func newMinIO(below string) (*MinIOServer, error) {
	binary, err := findTool(minioBinary)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(below, "minio-")
	if err != nil {
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	m := &MinIOServer{AccessKey: "test-access-key", SecretKey: rand.Text(), binary: binary, dir: dir}
	err = onFreePort(func(port int) error {
		m.Address = fmt.Sprintf("127.0.0.1:%d", port)
		return m.start()
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start MinIO: %w", err), os.RemoveAll(dir))
	}
	return m, nil
}

func (m *MinIOServer) start() error {
	data := filepath.Join(m.dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return fmt.Errorf("create data folder: %w", err)
	}
	cmd := exec.CommandContext(context.Background(), m.binary, "server", "--quiet",
		"--certs-dir", filepath.Join(m.dir, "certs"), "--address", m.Address, data)
	cmd.Dir = m.dir
	cmd.Env = []string{
		"HOME=" + m.dir,
		"MINIO_ROOT_USER=" + m.AccessKey,
		"MINIO_ROOT_PASSWORD=" + m.SecretKey,
		"MINIO_REGION=" + minioRegion,
		"MINIO_BROWSER=off",
		"MINIO_UPDATE=off",
	}
	p, err := launch(cmd, filepath.Join(m.dir, "log"), syscall.SIGKILL)
	if err != nil {
		return err
	}
	m.process = p
	return p.ready(m.health)
}

// health asks whether buckets can be created: a server that is merely alive
// refuses that for a while.
func (m *MinIOServer) health(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.Address+"/minio/health/cluster", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("health check: %s", resp.Status)
	}
	return nil
}

// Yield has a MinIO that stands for a store on another machine take only what this machine's
// processors have left.
func (m *MinIOServer) Yield(tb testing.TB) {
	tb.Helper()
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", m.process.cmd.Process.Pid))
	if err != nil {
		tb.Fatal(err)
	}
	const lowest = 19
	for _, t := range threads { // Linux has a priority for each, which those that it begins inherit
		id, err := strconv.Atoi(t.Name())
		if err == nil {
			err = unix.Setpriority(unix.PRIO_PROCESS, id, lowest)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) { // it has ended
			tb.Fatalf("set the priority of MinIO: %v", err)
		}
	}
}

func (m *MinIOServer) remove() {
	m.process.stop(syscall.SIGTERM)
	_ = os.RemoveAll(m.dir) // a leftover in the temporary folder harms no test
}
