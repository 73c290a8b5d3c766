package api

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// withOwnName refuses requests that came to the loopback address under a name
// that is not this host's. A browser on this host sends such ones for a foreign
// page that had its own name lead here (DNS rebinding): to the browser they are
// of that page's origin.
func withOwnName(cfg ServerConfig, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if onLoopback(r) && !ownName(cfg.URL, r.Host) {
			writeProblem(w, http.StatusMisdirectedRequest, "this address is reached as localhost or by its number alone, or as UNDERSTUDY_URL says: a proxy in front of it passes its own host name on only if that is the name in UNDERSTUDY_URL")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// onLoopback reports whether a request came to a loopback address.
func onLoopback(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && loopback(addr)
}

// ownName reports whether no stranger's DNS can have led here: by an address, by
// a name without a domain, or by the configured one.
func ownName(configured, host string) bool {
	name := strings.TrimSuffix(strings.ToLower(hostOf(host)), ".")
	if _, err := netip.ParseAddr(name); err == nil || !strings.Contains(name, ".") || strings.HasSuffix(name, ".localhost") {
		return true
	}
	u, err := url.Parse(configured)
	return err == nil && strings.EqualFold(u.Hostname(), name)
}
