package server

import (
	"errors"
	"fmt"
	"sync"
	"testing"
)

// removable is a server with everything that it keeps.
type removable interface{ remove() }

// shared holds the servers that all tests of a package use, by their kind.
var shared struct {
	sync.Mutex
	running bool // within Run
	servers map[string]*sharedServer
}

type sharedServer struct {
	server removable
	err    error
}

// Run runs a package's tests, stops the servers that they shared, and returns
// the exit code. Call it from TestMain.
func Run(m *testing.M) int {
	shared.Lock()
	shared.running = true
	shared.servers = make(map[string]*sharedServer)
	shared.Unlock()
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	for _, s := range shared.servers {
		if s.err == nil {
			s.server.remove()
		}
	}
	return code
}

// share returns the package's server of a kind, which it starts if no test has
// needed it before.
func share[T removable](tb testing.TB, kind string, start func() (T, error)) T {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.running {
		tb.Fatal("a shared server needs server.Run in TestMain, which stops it")
	}
	s := shared.servers[kind]
	if s == nil {
		started, err := start()
		s = &sharedServer{started, err}
		shared.servers[kind] = s
	}
	if s.err != nil {
		tb.Fatal(errors.Join(fmt.Errorf("shared %s server", kind), s.err))
	}
	return s.server.(T)
}

// SharedMinIO returns the package's MinIO server. Tests keep apart by using a
// bucket each, and must not stop it.
func SharedMinIO(tb testing.TB) *MinIOServer {
	tb.Helper()
	return share(tb, "MinIO", func() (*MinIOServer, error) { return newMinIO("") })
}
