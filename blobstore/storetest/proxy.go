package storetest

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// Proxy stands between a provider and its server, and spoils what passes as
// it is told. It keeps paths, queries, headers and the Host header as they
// are, so that signatures hold, and streams bodies. Faults are asked in the
// order of their injection; the first that matches a request strikes it.
type Proxy struct {
	server *httptest.Server
	pass   http.Handler

	faults faults[*http.Request, NetAction]

	mu       sync.Mutex
	requests []Request
}

// NetFault says what goes wrong on the network, and when.
type NetFault struct {
	When  func(r *http.Request) bool // which requests; nil is all
	After int                        // how many matching requests go well first
	Times int                        // how many go wrong then; 0 means one
	Do    NetAction                  // what happens to them
}

// NetAction is what happens to a request that a fault strikes. pass sends the
// request to the server and the server's answer to w.
type NetAction func(w http.ResponseWriter, r *http.Request, pass http.Handler)

// Request is one that came to a proxy.
type Request struct {
	Method string
	Path   string // unescaped
	Query  url.Values
}

// NewProxy starts a proxy to the server at target, a URL like
// http://127.0.0.1:9000, for the time of a test.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	to, err := url.Parse(target)
	if err != nil || to.Host == "" {
		tb.Fatalf("start proxy: the target %q is no URL like http://host:port", target)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true
	tb.Cleanup(transport.CloseIdleConnections)
	silent := slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // failures are what a proxy is for
	p := &Proxy{pass: &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { redirect(r, to) },
		Transport: transport,
		ErrorLog:  silent,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway)
		},
	}}
	p.server = httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	p.server.Config.ErrorLog = silent
	p.server.Start()
	tb.Cleanup(func() {
		p.server.CloseClientConnections() // ends the requests that wait
		p.server.Close()
	})
	return p
}

// URL is where the proxy listens: http://127.0.0.1:port.
func (p *Proxy) URL() string { return p.server.URL }

// Address is the host and port of URL.
func (p *Proxy) Address() string { return p.server.Listener.Addr().String() }

// Inject adds faults.
func (p *Proxy) Inject(faults ...NetFault) {
	for _, fault := range faults {
		p.faults.add(fault.After, fault.Times, fault.Do, func(r *http.Request) bool { return fault.When == nil || fault.When(r) })
	}
}

// Heal takes all faults away. Requests that a fault holds stay held.
func (p *Proxy) Heal() { p.faults.clear() }

// Requests returns the requests since the last time, in the order of their
// arrival.
func (p *Proxy) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	requests := p.requests
	p.requests = nil
	return requests
}

// Reading matches the requests that change nothing.
func Reading(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}

// Writing matches the requests that may change something.
func Writing(r *http.Request) bool { return !Reading(r) }

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	if action := p.record(r); action != nil {
		action(w, r, p.pass)
		return
	}
	p.pass.ServeHTTP(w, r)
}

func (p *Proxy) record(r *http.Request) NetAction {
	p.mu.Lock()
	p.requests = append(p.requests, Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query()})
	p.mu.Unlock()
	return p.faults.strike(r)
}

// finishKey marks a request's context with what is to be done to it last.
type finishKey struct{}

// redirect sends a request to the server. The Host header stays.
func redirect(r *httputil.ProxyRequest, to *url.URL) {
	r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
	if finish, ok := r.In.Context().Value(finishKey{}).(func(*http.Request)); ok {
		finish(r.Out)
	}
}
