package server

import (
	"errors"
	"sync"
	"testing"
)

// shared holds the servers that all tests of a package use.
var shared struct {
	sync.Mutex
	running bool // within Run
	minio   *MinIOServer
	err     error
}

// Run runs a package's tests, stops the servers that they shared, and returns
// the exit code. Call it from TestMain.
func Run(m *testing.M) int {
	shared.Lock()
	shared.running = true
	shared.Unlock()
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.minio != nil {
		shared.minio.remove()
	}
	return code
}

// SharedMinIO returns the package's MinIO server, which it starts if no test
// has needed it before. Tests keep apart by using a bucket each, and must not
// stop it.
func SharedMinIO(tb testing.TB) *MinIOServer {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.running {
		tb.Fatal("server.SharedMinIO needs server.Run in TestMain, which stops the server")
	}
	if shared.minio == nil && shared.err == nil {
		shared.minio, shared.err = newMinIO()
	}
	if err := shared.err; err != nil {
		tb.Fatal(errors.Join(errors.New("shared MinIO server"), err))
	}
	return shared.minio
}
