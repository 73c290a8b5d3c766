package edge

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

const (
	// dialTimeout is how long a connection may take.
	dialTimeout = 10 * time.Second
	// idleConns is how many connections are kept for parallel transfers.
	idleConns = 32
)

// Tune has a transport keep its connections. What goes through it is watched, too: that
// bounds how long a silent store can hold a request.
func Tune(t *http.Transport) { t.MaxIdleConnsPerHost = idleConns }

// Client returns an HTTP client for a provider whose SDK takes one: tuned, and
// watched. Like every client of Go's it goes through the proxy that the
// environment names (HTTPS_PROXY, NO_PROXY) and trusts the certificates of the
// system or those of SSL_CERT_FILE. It follows no redirect: whom a URL names,
// and nobody else, is asked, and what is written arrives as it was sent.
func Client() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true // bytes come as they are stored
	var dialer net.Dialer
	TuneDialer(&dialer)
	t.DialContext = dialer.DialContext
	Tune(t)
	return &http.Client{
		Transport:     Watched(t),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type sentKey struct{}

// Watch returns a context for one request through something Watched, and a
// flag that is set once there is a connection for the request to go out on.
// Until then it has had no effect.
func Watch(ctx context.Context) (context.Context, *atomic.Bool) {
	sent := new(atomic.Bool)
	return context.WithValue(ctx, sentKey{}, sent), sent
}

// Watched passes requests on to next and sets their flags; see Watch. It wraps
// what talks to the store alone, not to those who give credentials.
func Watched(next http.RoundTripper) http.RoundTripper { return watched{next} }

type watched struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (w watched) RoundTrip(req *http.Request) (*http.Response, error) {
	return Exchange(req, w.next.RoundTrip)
}

// observed returns the request as one that sets its context's flag, and that calls written
// once it was handed to the kernel.
func observed(req *http.Request, written func()) *http.Request {
	trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { written() }}
	if sent, ok := req.Context().Value(sentKey{}).(*atomic.Bool); ok {
		trace.GotConn = func(httptrace.GotConnInfo) { sent.Store(true) }
	}
	return req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
}
