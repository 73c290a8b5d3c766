package api

import (
	"net"
	"net/netip"
	"sync"
)

// Connections over TCP at once. Each costs some 20 KiB; one that says nothing
// ends after readHeaderTimeout, one that has said enough after idleTimeout.
const (
	maxConns        = 1024
	maxAddressConns = 128
)

// connBound closes connections beyond a number, and beyond another from one
// address, as soon as they are made: those who are served stay so. Proxies, and
// this host itself, speak for many, and have their own share.
type connBound struct {
	net.Listener
	proxies []netip.Prefix

	mu        sync.Mutex
	strangers int
	from      map[string]int
}

func boundConns(l net.Listener, cfg ServerConfig) net.Listener {
	return &connBound{Listener: l, proxies: cfg.Proxies, from: make(map[string]int)}
}

// Accept waits for the next connection within the bounds.
func (b *connBound) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		key := b.key(conn.RemoteAddr())
		if b.enter(key) {
			return &boundConn{Conn: conn, leave: sync.OnceFunc(func() { b.leave(key) })}, nil
		}
		_ = conn.Close() // it was never used
	}
}

// key is what a connection is counted by; "" for those who speak for many.
func (b *connBound) key(remote net.Addr) string {
	host := hostOf(remote.String())
	if loopback(remote) || trustedProxy(b.proxies, host) {
		return ""
	}
	return network(host)
}

func (b *connBound) enter(key string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case key == "" && b.from[key] >= maxConns, key != "" && (b.strangers >= maxConns || b.from[key] >= maxAddressConns):
		return false
	case key != "":
		b.strangers++
	}
	b.from[key]++
	return true
}

func (b *connBound) leave(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if key != "" {
		b.strangers--
	}
	if b.from[key]--; b.from[key] == 0 {
		delete(b.from, key)
	}
}

// boundConn makes room when it is closed.
type boundConn struct {
	net.Conn
	leave func()
}

// Close closes the connection.
func (c *boundConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
