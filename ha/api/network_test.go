package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener without a network, for time that is made up.
type pipes struct {
	conns chan net.Conn
	end   func()
	done  chan struct{}
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	p.end = sync.OnceFunc(func() { close(p.done) })
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.end(); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// TestSlowVisitorsAreEnded: whoever keeps a connection open by sending a little
// at a time, or nothing, loses it.
func TestSlowVisitorsAreEnded(t *testing.T) {
	const notify = "POST /api/v1/notifications HTTP/1.1\r\nHost: a\r\nwebhook-id: 1\r\nwebhook-timestamp: 1\r\nwebhook-signature: v1,x\r\n"
	for name, c := range map[string]struct {
		sent string
		drip string // sent again every second
		ends time.Duration
	}{
		"nothing":                                {ends: readHeaderTimeout},
		"a header a second":                      {sent: "GET /healthz HTTP/1.1\r\nHost: a\r\n", drip: "X: y\r\n", ends: readHeaderTimeout},
		"a body that does not come":              {sent: notify + "Content-Length: 100\r\n\r\n", ends: bodyTimeout},
		"a byte a second":                        {sent: notify + "Content-Length: 1000\r\n\r\n", drip: "x", ends: bodyTimeout},
		"a body that nobody asked for":           {sent: "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n", ends: 2 * bodyTimeout},
		"a body beside a page":                   {sent: "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n", ends: 2 * bodyTimeout},
		"a chunk a second of what is refused":    {sent: "POST /api/v1/backups HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", drip: "1\r\nx\r\n", ends: 2 * bodyTimeout},
		"silence after an answer":                {sent: "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", ends: idleTimeout},
		"a token's body that nobody asked for":   {sent: "GET /api/v1/status HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + token + "\r\nContent-Length: 100\r\n\r\n", ends: 2 * bodyTimeout},
		"a code's body that does not come (413)": {sent: notify + "Content-Length: 107374182400\r\n\r\n", ends: 2 * bodyTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t)
			synctest.Test(t, func(t *testing.T) {
				s := &Server{log: slog.New(slog.DiscardHandler), closing: make(chan struct{})}
				cfg := ServerConfig{Parts: fake.parts(), Token: token, Logger: s.log, Pages: http.NotFoundHandler()}.complete()
				_, handler := newHandlers(cfg, s.closing)
				l := newPipes()
				s.add(l, handler, nil)
				ctx, cancel := context.WithCancel(t.Context())
				served := make(chan error, 1)
				go func() { served <- s.Serve(ctx) }()
				began := time.Now()
				conn := l.dial()
				var sending sync.WaitGroup
				sending.Go(func() {
					for text := c.sent; ; text = c.drip {
						if _, err := io.WriteString(conn, text); err != nil || c.drip == "" {
							return
						}
						<-time.After(time.Second)
					}
				})
				if _, err := io.Copy(io.Discard, conn); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > c.ends+2*time.Second {
					t.Errorf("the connection was open for %v, want at most %v", took, c.ends)
				}
				conn.Close()
				sending.Wait()
				cancel()
				if err := <-served; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// raw sends text over a connection of its own, and gives all that comes back.
func (s *served) raw(t *testing.T, text string) string {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Logf("write: %v", err) // answered before all of it was taken
	}
	answer, err := io.ReadAll(conn)
	if err != nil && len(answer) == 0 {
		t.Logf("read: %v", err)
	}
	return string(answer)
}

// TestWhatIsTooLargeIsRefused, and not read.
func TestWhatIsTooLargeIsRefused(t *testing.T) {
	s := start(t, token)
	for name, c := range map[string]struct{ sent, status string }{
		"headers":            {"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 2*maxHeaderBytes) + "\r\n\r\n", "431"},
		"a path":             {"GET /" + strings.Repeat("x", 2*maxHeaderBytes) + " HTTP/1.1\r\nHost: localhost\r\n\r\n", "431"},
		"a body of 100 GiB":  {"POST /api/v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 107374182400\r\n\r\n", "413"},
		"a body without end": {"POST /api/v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1000\r\n"+strings.Repeat(" ", 0x1000)+"\r\n", 100), "413"},
		"a signature":        {"POST /api/v1/notifications HTTP/1.1\r\nHost: localhost\r\nwebhook-id: x\r\nwebhook-timestamp: 1\r\nwebhook-signature: " + strings.Repeat("v1,x ", 2000) + "\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", "422"},
	} {
		if got := s.raw(t, c.sent); !strings.HasPrefix(got, "HTTP/1.1 "+c.status) {
			t.Errorf("%s: %.60q, want %s", name, got, c.status)
		}
	}
	if got := s.fake.lastCall(); got != "" {
		t.Errorf("the agent was asked: %s", got)
	}
}

// TestDeepJSONIsRefused: 64 KiB of brackets cost nothing.
func TestDeepJSONIsRefused(t *testing.T) {
	s := start(t, token)
	for _, body := range []string{strings.Repeat("[", 60_000), strings.Repeat(`{"a":`, 12_000)} {
		if a := s.tcp(t, "POST", "/api/v1/sessions", body, "Content-Type", "application/json"); a.status != http.StatusBadRequest && a.status != http.StatusUnprocessableEntity {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

// TestRequestsThatTwoServersReadDifferently are refused, or end the connection:
// what a proxy took for a body is not taken for a request.
func TestRequestsThatTwoServersReadDifferently(t *testing.T) {
	s := start(t, token)
	const smuggled = "GET /leader HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	post := "POST /api/v1/notifications HTTP/1.1\r\nHost: localhost\r\nwebhook-id: 1\r\nwebhook-timestamp: 1\r\nwebhook-signature: v1,x\r\n"
	for name, sent := range map[string]string{
		"a length and chunks":        post + fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 5+len(smuggled)) + smuggled,
		"two lengths":                post + fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n\r\n", len(smuggled)) + smuggled,
		"another coding":             post + fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: xchunked\r\n\r\n", len(smuggled)) + smuggled,
		"two codings":                post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + smuggled,
		"a space before the colon":   post + fmt.Sprintf("Content-Length : %d\r\n\r\n", len(smuggled)) + smuggled,
		"a negative length":          post + "Content-Length: -1\r\n\r\n" + smuggled,
		"a length with a sign":       post + "Content-Length: +0\r\n\r\n" + smuggled,
		"no host":                    "GET /healthz HTTP/1.1\r\n\r\n" + smuggled,
		"two hosts":                  "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n" + smuggled,
		"a name with a line's end":   "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX\nY: z\r\n\r\n" + smuggled,
		"a chunk of a negative size": post + "Transfer-Encoding: chunked\r\n\r\n-1\r\n" + smuggled,
	} {
		if got := s.raw(t, sent); strings.Contains(got, `"leading"`) {
			t.Errorf("%s: what was smuggled was answered:\n%s", name, got)
		}
	}
}

// TestAForeignNameDoesNotLeadHere: a page that has its own name lead to the
// loopback address is no page of this server's.
func TestAForeignNameDoesNotLeadHere(t *testing.T) {
	s := start(t, token)
	setUp, err := ListenSetup(t.Context(), SetupConfig{Setup: noSetup{}, Code: "RIGHT", Pages: http.NotFoundHandler(), Server: ServerConfig{Listen: "127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- setUp.Serve(ctx) }()
	defer func() { cancel(); <-done }()
	for _, base := range []string{s.url, "http://" + setUp.Addr().String()} {
		for host, foreign := range map[string]bool{
			"localhost": false, "localhost:7878": false, "127.0.0.1:80": false, "[::1]:80": false, "host-a": false, "a.localhost": false,
			"evil.example": true, "evil.example:7878": true, "127.0.0.1.evil.example": true, "localhost.evil.example.": true,
		} {
			for _, path := range []string{"/healthz", "/", "/metrics", "/api/v1/sessions", "/api/v1/setup"} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Host = host
				resp, err := s.http.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if (resp.StatusCode == http.StatusMisdirectedRequest) != foreign {
					t.Errorf("%s as %s: %d", path, host, resp.StatusCode)
				}
			}
		}
	}
	if !ownName("https://console.example:8443", "console.example") || ownName("https://console.example", "other.example") {
		t.Error("the configured name is not its own")
	}
}

// TestWhatAnybodyMayAskTellsNothing of bucket, users, backups and hosts beyond
// what a load balancer and a monitor need.
func TestWhatAnybodyMayAskTellsNothing(t *testing.T) {
	s := start(t, token)
	s.fake.change(func() {
		s.fake.status.Bucket = "Get \"https://secret-endpoint.example/secret-bucket\": denied for AKIASECRET"
		s.fake.status.AppError, s.fake.status.BackupError = "secret-error", "secret-error"
	})
	for call := range public {
		method, path, _ := strings.Cut(call, " ")
		a := s.tcp(t, method, path, "{}", "Content-Type", "application/json", "webhook-id", "x", "webhook-timestamp", "1", "webhook-signature", "v1,x")
		for _, told := range []string{"secret", "AKIA", "alice", "20260304T050607Z"} {
			if strings.Contains(a.body, told) {
				t.Errorf("%s tells %q: %s", call, told, a.body)
			}
		}
		if a.header.Get("Server") != "" {
			t.Errorf("%s names its program: %s", call, a.header.Get("Server"))
		}
	}
	if a := s.tcp(t, "GET", "/readyz", "", "Authorization", "Bearer "+token); a.status != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d", a.status)
	}
	if a := s.local(t, "GET", "/readyz", ""); !strings.Contains(a.body, "secret-bucket") {
		t.Errorf("the host's own administrator is not told: %s", a.body)
	}
}

// TestConnectionsAreBounded: one address cannot take them all, nor all of them
// those of this host.
func TestConnectionsAreBounded(t *testing.T) {
	b := boundConns(newPipes(), ServerConfig{}).(*connBound)
	enter := func(host string) (string, bool) {
		key := b.key(&net.TCPAddr{IP: net.ParseIP(host), Port: 1})
		return key, b.enter(key)
	}
	taken := 0
	for i := range 2 * maxConns {
		if _, ok := enter(fmt.Sprintf("2001:db8::%x", i)); ok {
			taken++
		}
	}
	if taken != maxAddressConns {
		t.Errorf("one network has %d connections", taken)
	}
	for i := range 2 * maxConns {
		if _, ok := enter(fmt.Sprintf("198.51.%d.%d", i/200, i%200)); ok {
			taken++
		}
	}
	if taken != maxConns {
		t.Errorf("%d connections in all", taken)
	}
	own, ok := enter("127.0.0.1")
	if !ok {
		t.Error("this host's own is refused")
	}
	b.leave(own)
	b.leave("198.51.0.1")
	if _, ok := enter("203.0.113.1"); !ok {
		t.Error("a connection that ended makes no room")
	}
}

func TestConnectionsBeyondTheBoundAreClosed(t *testing.T) {
	l := newPipes()
	b := boundConns(l, ServerConfig{}).(*connBound)
	defer b.Close()
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := b.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	var first net.Conn
	for range maxAddressConns {
		l.dial()
		if c := <-accepted; first == nil {
			first = c
		}
	}
	if _, err := l.dial().Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("one too many: %v", err)
	}
	_ = first.Close()
	_ = first.Close() // counts once
	l.dial()
	if (<-accepted) == nil {
		t.Error("no room was made")
	}
}

// TestStreamsAreBounded for each caller.
func TestStreamsAreBounded(t *testing.T) {
	s := start(t, token)
	open := func() (status int, end func()) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api/v1/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", eventStream)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := s.http.Do(req) //nolint:bodyclose // end closes it
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(resp.Body).ReadByte(); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, func() { resp.Body.Close() }
	}
	for i := range maxStreams + 1 {
		status, end := open()
		defer end()
		if want := map[bool]int{false: http.StatusOK, true: http.StatusTooManyRequests}[i == maxStreams]; status != want {
			t.Errorf("stream %d: %d", i, status)
		}
	}
	if a := s.tcp(t, "GET", "/api/v1/events", "", "Authorization", "Bearer "+token); a.status != http.StatusOK {
		t.Errorf("without a stream: %d", a.status)
	}
}
