package server

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
)

// Ports of what tests start and stop. The system gives none of these to a
// connection, which would have it while its server is down.
const lowestPort, ports = 15_000, 17_000

// lastPort is the last one that this process has given. Another process begins
// elsewhere.
var lastPort = func() *atomic.Int64 {
	var n atomic.Int64
	n.Store(rand.Int64N(ports))
	return &n
}()

// freePort gives a port of 127.0.0.1 that nobody listens on just now, and no
// port a second time.
func freePort() (int, error) {
	var config net.ListenConfig
	var err error
	for range ports {
		port := lowestPort + int(lastPort.Add(1)%ports)
		var l net.Listener
		if l, err = config.Listen(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find free port: %w", err)
}

// FreeAddress is an address on the loopback interface for a server of a test's
// own, which may stop and start there.
func FreeAddress(tb testing.TB) string {
	tb.Helper()
	port, err := freePort()
	if err != nil {
		tb.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}
