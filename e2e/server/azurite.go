package server

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

const (
	azuriteScript = "e2e/tools/azurite/node_modules/azurite/dist/src/blob/main.js"
	azuriteKeyLen = 64 // bytes, as Azure's own
)

// AzuriteServer is Microsoft's emulator of Azure Blob Storage, with one
// storage account.
type AzuriteServer struct {
	// Address is its host and port, for plain HTTP.
	Address string
	// Account is its storage account's name, and Key that account's key, in
	// base64.
	Account, Key string

	node, script, dir string
	process           *process
}

// Azurite starts a server for one test.
func Azurite(tb testing.TB) *AzuriteServer {
	tb.Helper()
	a, err := newAzurite()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(a.remove)
	return a
}

// SharedAzurite returns the package's Azurite server. Tests keep apart by
// using a container each, and must not stop it.
func SharedAzurite(tb testing.TB) *AzuriteServer {
	tb.Helper()
	return share(tb, "Azurite", newAzurite)
}

// NewBucket creates an empty container and returns its azblob:// URL, without
// a prefix, which may be added as the URL's path.
func (a *AzuriteServer) NewBucket(tb testing.TB) string {
	tb.Helper()
	name := "test-" + strings.ToLower(rand.Text()[:16])
	if _, err := a.Client(tb).CreateContainer(tb.Context(), name, nil); err != nil {
		tb.Fatalf("create container: %v", err)
	}
	return a.URL(name)
}

// URL returns the azblob:// URL of a container.
func (a *AzuriteServer) URL(container string) string {
	query := url.Values{"endpoint": {a.Endpoint()}}
	return (&url.URL{Scheme: "azblob", Host: container, RawQuery: query.Encode()}).String()
}

// Endpoint returns the URL of the account's blob service.
func (a *AzuriteServer) Endpoint() string {
	return "http://" + a.Address + "/" + a.Account
}

// Env returns the environment variables with which a process may use the
// server, as NAME=value.
func (a *AzuriteServer) Env() []string {
	return []string{"AZURE_STORAGE_ACCOUNT=" + a.Account, "AZURE_STORAGE_KEY=" + a.Key}
}

// Setenv sets what Env returns in this process, for the time of the test.
func (a *AzuriteServer) Setenv(tb testing.TB) {
	tb.Helper()
	for _, variable := range a.Env() {
		name, value, _ := strings.Cut(variable, "=")
		tb.Setenv(name, value)
	}
}

// Client returns a client for what a test wants to do behind the back of what
// it tests.
func (a *AzuriteServer) Client(tb testing.TB) *service.Client {
	tb.Helper()
	client, err := a.client()
	if err != nil {
		tb.Fatalf("create Azure client: %v", err)
	}
	return client
}

// Stop ends the server in an orderly way; its data and port stay its own.
func (a *AzuriteServer) Stop(tb testing.TB) {
	tb.Helper()
	a.process.stop(syscall.SIGTERM)
}

// Start starts a stopped server again.
func (a *AzuriteServer) Start(tb testing.TB) {
	tb.Helper()
	if err := a.start(); err != nil {
		tb.Fatal(err)
	}
}

func newAzurite() (*AzuriteServer, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, fmt.Errorf("find Node.js, on which Azurite runs: %w: %w", err, errMissing)
	}
	script, err := findTool(azuriteScript)
	if err != nil {
		return nil, err
	}
	key := make([]byte, azuriteKeyLen)
	_, _ = rand.Read(key) // never fails
	dir, err := os.MkdirTemp("", "azurite-")
	if err != nil {
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	a := &AzuriteServer{
		Account: "testaccount",
		Key:     base64.StdEncoding.EncodeToString(key),
		node:    node, script: script, dir: dir,
	}
	err = onFreePort(func(port int) error {
		a.Address = fmt.Sprintf("127.0.0.1:%d", port)
		return a.start()
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start Azurite: %w", err), os.RemoveAll(dir))
	}
	return a, nil
}

func (a *AzuriteServer) start() error {
	host, port, _ := strings.Cut(a.Address, ":")
	cmd := exec.CommandContext(context.Background(), a.node, a.script,
		"--blobHost", host, "--blobPort", port, "--location", filepath.Join(a.dir, "data"),
		"--disableProductStyleUrl", "--disableTelemetry", "--silent")
	cmd.Dir = a.dir
	cmd.Env = []string{
		"HOME=" + a.dir,
		"AZURITE_ACCOUNTS=" + a.Account + ":" + a.Key,
	}
	p, err := launch(cmd, filepath.Join(a.dir, "log"), syscall.SIGKILL)
	if err != nil {
		return err
	}
	a.process = p
	return p.ready(a.health)
}

func (a *AzuriteServer) client() (*service.Client, error) {
	credential, err := service.NewSharedKeyCredential(a.Account, a.Key)
	if err != nil {
		return nil, err
	}
	return service.NewClientWithSharedKeyCredential(a.Endpoint(), credential, &service.ClientOptions{
		ClientOptions: policy.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}},
	})
}

// health asks whether requests are answered, by a server that knows this key.
func (a *AzuriteServer) health(ctx context.Context) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	_, err = client.NewListContainersPager(nil).NextPage(ctx)
	return err
}

func (a *AzuriteServer) remove() {
	a.process.stop(syscall.SIGTERM)
	_ = os.RemoveAll(a.dir) // a leftover in the temporary folder harms no test
}
