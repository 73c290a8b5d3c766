package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"cloud.google.com/go/storage"
	"google.golang.org/api/option"
)

const (
	gcsBinary  = "e2e/tools/bin/fake-gcs-server"
	gcsProject = "test"
)

// GCSServer is a fake-gcs-server, which speaks Google Cloud Storage's protocol
// and lets everybody in.
type GCSServer struct {
	// Address is its host and port, for plain HTTP.
	Address string

	binary, dir string
	backend     string
	process     *process
	front       *http.Server // at Address
}

const (
	gcsOnDisk   = "filesystem"
	gcsInMemory = "memory"
)

// GCS starts a server for one test.
func GCS(tb testing.TB) *GCSServer {
	tb.Helper()
	return startGCS(tb, gcsOnDisk)
}

// VersionedGCS starts a server for one test whose buckets keep versions. It
// loses everything when it stops, and gets slow with thousands of objects.
func VersionedGCS(tb testing.TB) *GCSServer {
	tb.Helper()
	return startGCS(tb, gcsInMemory)
}

func startGCS(tb testing.TB, backend string) *GCSServer {
	tb.Helper()
	g, err := newGCS(backend)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(g.remove)
	return g
}

// SharedGCS returns the package's Google Cloud Storage server. Tests keep
// apart by using a bucket each, and must not stop it.
func SharedGCS(tb testing.TB) *GCSServer {
	tb.Helper()
	return share(tb, "Google Cloud Storage", func() (*GCSServer, error) { return newGCS(gcsOnDisk) })
}

// NewBucket creates an empty bucket and returns its gs:// URL, without a
// prefix, which may be added as the URL's path.
func (g *GCSServer) NewBucket(tb testing.TB) string {
	tb.Helper()
	name := "test-" + strings.ToLower(rand.Text()[:16])
	attrs := &storage.BucketAttrs{VersioningEnabled: g.backend == gcsInMemory}
	if err := g.Client(tb).Bucket(name).Create(tb.Context(), gcsProject, attrs); err != nil {
		tb.Fatalf("create bucket: %v", err)
	}
	return g.URL(name)
}

// URL returns the gs:// URL of a bucket.
func (g *GCSServer) URL(bucket string) string {
	query := url.Values{"endpoint": {"http://" + g.Address}}
	return (&url.URL{Scheme: "gs", Host: bucket, RawQuery: query.Encode()}).String()
}

// Env returns the environment variables with which a process may use the
// server, as NAME=value.
func (g *GCSServer) Env() []string {
	return []string{"STORAGE_EMULATOR_HOST=" + g.Address}
}

// Setenv sets what Env returns in this process, for the time of the test.
func (g *GCSServer) Setenv(tb testing.TB) {
	tb.Helper()
	for _, variable := range g.Env() {
		name, value, _ := strings.Cut(variable, "=")
		tb.Setenv(name, value)
	}
}

// Client returns a client for what a test wants to do behind the back of what
// it tests.
func (g *GCSServer) Client(tb testing.TB) *storage.Client {
	tb.Helper()
	client, err := storage.NewClient(tb.Context(),
		option.WithEndpoint("http://"+g.Address+"/storage/v1/"),
		option.WithHTTPClient(http.DefaultClient),
		option.WithoutAuthentication())
	if err != nil {
		tb.Fatalf("create Google Cloud Storage client: %v", err)
	}
	return client
}

// Stop ends the server in an orderly way; its data and port stay its own.
func (g *GCSServer) Stop(tb testing.TB) {
	tb.Helper()
	g.stop()
}

// Start starts a stopped server again.
func (g *GCSServer) Start(tb testing.TB) {
	tb.Helper()
	if err := g.start(); err != nil {
		tb.Fatal(err)
	}
}

func newGCS(backend string) (*GCSServer, error) {
	binary, err := findTool(gcsBinary)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gcs-")
	if err != nil {
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	g := &GCSServer{binary: binary, dir: dir, backend: backend}
	if err := g.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start fake-gcs-server: %w", err), os.RemoveAll(dir))
	}
	return g, nil
}

// data is the folder of the buckets' folders.
func (g *GCSServer) data() string { return filepath.Join(g.dir, "data") }

// start starts the server behind its front, at the address that it had before.
func (g *GCSServer) start() error {
	var config net.ListenConfig
	if g.Address == "" {
		port, err := freePort()
		if err != nil {
			return err
		}
		g.Address = fmt.Sprintf("127.0.0.1:%d", port)
	}
	l, err := config.Listen(context.Background(), "tcp", g.Address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	var behind string
	err = onFreePort(func(port int) error {
		behind = fmt.Sprintf("127.0.0.1:%d", port)
		return g.launch(port)
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	g.front = &http.Server{Handler: newGCSFront(behind, g.Address, g.data())}
	go func() { _ = g.front.Serve(l) }() // until it is closed
	return nil
}

// launch starts the server itself, at a port of its own.
func (g *GCSServer) launch(port int) error {
	cmd := exec.CommandContext(context.Background(), g.binary,
		"-scheme", "http", "-host", "127.0.0.1", "-port", strconv.Itoa(port),
		// Downloads are told from other requests by the host's name.
		"-public-host", g.Address, "-external-url", "http://"+g.Address,
		"-backend", g.backend, "-filesystem-root", g.data(),
		"-log-level", "warn")
	cmd.Dir = g.dir
	p, err := launch(cmd, filepath.Join(g.dir, "log"), syscall.SIGKILL)
	if err != nil {
		return err
	}
	g.process = p
	return p.ready(func(ctx context.Context) error { return gcsHealth(ctx, port) })
}

func (g *GCSServer) stop() {
	_ = g.front.Close() // whoever is connected notices
	g.process.stop(syscall.SIGTERM)
}

func gcsHealth(ctx context.Context, port int) error {
	health := fmt.Sprintf("http://127.0.0.1:%d/_internal/healthcheck", port)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, health, nil)
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

func (g *GCSServer) remove() {
	g.stop()
	_ = os.RemoveAll(g.dir) // a leftover in the temporary folder harms no test
}
