package api

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// forwardedFor is the header in which each proxy appends whom it heard from.
const forwardedFor = "X-Forwarded-For"

// source is sourceOf. It says once that a proxy seems to be in front which
// nobody has named: everybody behind it counts as one address, so whoever
// guesses there holds up the others.
func (g *gate) source(r *http.Request) string {
	if r.Header.Get(forwardedFor) != "" && !trustedProxy(g.proxies, hostOf(r.RemoteAddr)) {
		g.unproxied.Do(func() {
			g.log.WarnContext(r.Context(), "a request says that a proxy passed it on, and this proxy is not trusted, so all requests through it count as one visitor's: if it is yours, set UNDERSTUDY_TRUSTED_PROXIES to its address",
				slog.String("address", hostOf(r.RemoteAddr)))
		})
	}
	return sourceOf(r, g.proxies)
}

// sourceOf is the address that a request comes from: that of the connection, or
// what the trusted proxies say. Each proxy appends one address, so the last one
// that is no proxy's is the first that nobody but a proxy can have written.
func sourceOf(r *http.Request, proxies []netip.Prefix) string {
	from := hostOf(r.RemoteAddr)
	heard := strings.Split(strings.Join(r.Header.Values(forwardedFor), ","), ",")
	for _, next := range slices.Backward(heard) {
		if !trustedProxy(proxies, from) {
			break
		}
		addr, err := netip.ParseAddr(hostOf(strings.TrimSpace(next)))
		if err != nil {
			break
		}
		from = addr.String()
	}
	return from
}

// trustedProxy reports whether an address is a trusted proxy's.
func trustedProxy(proxies []netip.Prefix, host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// hostOf is an address without its port, if it has one.
func hostOf(remote string) string {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		return host
	}
	return strings.Trim(remote, "[]")
}

// network is the address that one party can be taken to have: of IPv6 its /64.
func network(host string) string { return masked(host, 64) }

// masked is an address, of IPv6 its first bits alone.
func masked(host string, bits int) string {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	addr = addr.Unmap().WithZone("")
	if !addr.Is6() {
		return addr.String()
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return host
	}
	return p.String()
}
