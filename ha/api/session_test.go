package api

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/control"
)

// visit is a browser at a handler, on a clock of its own.
type visit struct {
	t       *testing.T
	fake    *fakeAgent
	handler http.Handler
	mu      sync.Mutex
	time    time.Time
	cookies map[string]string
	tls     bool
	address string
}

func newVisit(t *testing.T, url string) *visit {
	t.Helper()
	return newVisitWith(t, ServerConfig{Logger: slog.New(slog.DiscardHandler), URL: url})
}

func newVisitWith(t *testing.T, cfg ServerConfig) *visit {
	t.Helper()
	v := &visit{t: t, fake: newFake(t), time: then, cookies: map[string]string{}, address: "192.0.2.1:999"}
	v.fake.users = []account.User{{Name: "alice", Role: account.Admin, Password: "correct"}, {Name: "bob", Role: account.Viewer, Password: "correct"}}
	cfg.Parts, cfg.Now, cfg.Token = v.fake.parts(), v.now, token
	cfg.Pages = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "page "+r.URL.Path) })
	_, v.handler = newHandlers(cfg, make(chan struct{}))
	return v
}

func (v *visit) now() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.time
}

func (v *visit) pass(d time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.time = v.time.Add(d)
}

// reply is an answer without its body.
type reply struct {
	StatusCode int
	Header     http.Header
}

func (r reply) Cookies() []*http.Cookie { return (&http.Response{Header: r.Header}).Cookies() }

// do makes a request as the browser's page does, and keeps cookies.
func (v *visit) do(method, path, body string, header ...string) reply {
	v.t.Helper()
	r := httptest.NewRequestWithContext(v.t.Context(), method, "http://host-a:7878"+path, strings.NewReader(body))
	r.RemoteAddr = v.address
	if v.tls {
		r.TLS = &tls.ConnectionState{}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for name, value := range v.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	v.handler.ServeHTTP(w, r)
	resp := reply{w.Code, w.Header()}
	for _, c := range resp.Cookies() {
		if c.MaxAge < 0 {
			delete(v.cookies, c.Name)
		} else {
			v.cookies[c.Name] = c.Value
		}
	}
	return resp
}

func (v *visit) want(status int, method, path, body string, header ...string) {
	v.t.Helper()
	if got := v.do(method, path, body, header...); got.StatusCode != status {
		v.t.Errorf("%s %s: %d, want %d", method, path, got.StatusCode, status)
	}
}

func (v *visit) signIn(name string) *http.Cookie {
	v.t.Helper()
	resp := v.do("POST", "/api/v1/sessions", fmt.Sprintf(`{"name":%q,"password":"correct"}`, name))
	if resp.StatusCode != http.StatusCreated || len(resp.Cookies()) != 1 {
		v.t.Fatalf("sign in: %d, cookies %v", resp.StatusCode, resp.Cookies())
	}
	return resp.Cookies()[0]
}

func TestASessionLetsItsUserIn(t *testing.T) {
	v := newVisit(t, "")
	v.want(http.StatusUnauthorized, "GET", "/api/v1/status", "")
	v.want(http.StatusOK, "GET", "/", "")
	v.want(http.StatusOK, "GET", "/console/app.js", "")
	v.want(http.StatusUnauthorized, "GET", "/console/../api/v1/status", "")
	v.want(http.StatusUnauthorized, "POST", "/api/v1/sessions", `{"name":"alice","password":"wrong"}`)
	v.want(http.StatusUnauthorized, "POST", "/api/v1/sessions", `{"name":"nobody","password":"correct"}`)
	v.signIn("alice")
	v.want(http.StatusOK, "GET", "/api/v1/status", "")
	v.want(http.StatusAccepted, "POST", "/api/v1/promotions", "{}")
	if got := v.fake.lastCall(); !strings.Contains(got, "promote by user alice: ") {
		t.Errorf("who asked is not recorded: %s", got)
	}
	v.want(http.StatusNoContent, "DELETE", "/api/v1/sessions/current", "")
	v.want(http.StatusUnauthorized, "GET", "/api/v1/status", "")
}

func TestACookieIsAsSafeAsItsConnection(t *testing.T) {
	for name, c := range map[string]struct {
		url    string
		tls    bool
		header []string
		secure bool
	}{
		"plain HTTP":                  {},
		"TLS":                         {tls: true, secure: true},
		"a proxy that says so":        {header: []string{"X-Forwarded-Proto", "https"}, secure: true},
		"a proxy that keeps the host": {url: "https://host-a:7878", secure: true},
		"straight past the proxy":     {url: "https://elsewhere"},
	} {
		v := newVisit(t, c.url)
		v.tls = c.tls
		resp := v.do("POST", "/api/v1/sessions", `{"name":"alice","password":"correct"}`, c.header...)
		got := resp.Cookies()[0]
		wantName := "understudy-a"
		if c.secure {
			wantName = "__Host-understudy-a"
		}
		if got.Name != wantName || got.Secure != c.secure || !got.HttpOnly || got.SameSite != http.SameSiteStrictMode || got.Path != "/" || got.Domain != "" {
			t.Errorf("%s: %+v", name, got)
		}
		if len(got.Value) < 43 {
			t.Errorf("%s: the token is short: %q", name, got.Value)
		}
	}
}

func TestASessionEnds(t *testing.T) {
	for name, end := range map[string]func(v *visit){
		"after an hour without a request": func(v *visit) { v.pass(time.Hour) },
		"after an hour in which the page alone made requests": func(v *visit) {
			v.pass(59 * time.Minute)
			v.want(http.StatusOK, "GET", "/api/v1/status", "", backgroundHeader, "1")
			v.pass(time.Minute)
		},
		"after twelve hours": func(v *visit) {
			for range 12 {
				v.pass(time.Hour - time.Minute)
				v.want(http.StatusOK, "GET", "/api/v1/status", "")
			}
			v.pass(12 * time.Minute)
		},
		"with the instance's role":   func(v *visit) { v.fake.change(func() { v.fake.turn++ }) },
		"when its user is removed":   func(v *visit) { v.fake.change(func() { v.fake.users = v.fake.users[1:] }) },
		"when the password is other": func(v *visit) { v.fake.change(func() { v.fake.users[0].Password = "other" }) },
	} {
		v := newVisit(t, "")
		v.signIn("alice")
		end(v)
		resp := v.do("GET", "/api/v1/status", "")
		if resp.StatusCode != http.StatusUnauthorized || len(v.cookies) > 0 {
			t.Errorf("%s: %d, cookies %v", name, resp.StatusCode, v.cookies)
		}
	}
}

func TestAViewerChangesNothing(t *testing.T) {
	v := newVisit(t, "")
	v.signIn("bob")
	for _, path := range []string{"status", "instances", "backups", "events", "config", "users", "lags", "openapi.json", "sessions/current"} {
		v.want(http.StatusOK, "GET", "/api/v1/"+path, "")
	}
	v.fake.lastCall()
	for call := range strings.SplitSeq(strings.Join(design, "\n"), "\n") {
		method, path, _ := strings.Cut(call, " ")
		if method == "GET" || public[call] || path == currentSessionPath {
			continue
		}
		v.want(http.StatusForbidden, method, strings.NewReplacer("{id}", "x", "{name}", "x").Replace(path), "{}")
	}
	if got := v.fake.lastCall(); got != "" {
		t.Errorf("the agent was asked: %s", got)
	}
	v.want(http.StatusNoContent, "DELETE", "/api/v1/sessions/current", "")
}

func TestForeignPagesCannotUseASession(t *testing.T) {
	for name, header := range map[string][]string{
		"another site":                     {"Sec-Fetch-Site", "cross-site"},
		"another port of the same host":    {"Sec-Fetch-Site", "same-site"},
		"an old browser at another origin": {"Sec-Fetch-Site", "", "Origin", "http://evil.example"},
	} {
		v := newVisit(t, "https://console.example")
		v.want(http.StatusForbidden, "POST", "/api/v1/sessions", `{"name":"alice","password":"correct"}`, header...)
		v.signIn("alice")
		v.want(http.StatusForbidden, "POST", "/api/v1/schedule/pause", "", header...)
		if got := v.fake.lastCall(); got != "" {
			t.Errorf("%s: the agent was asked: %s", name, got)
		}
		v.want(http.StatusNoContent, "POST", "/api/v1/schedule/pause", "", "Sec-Fetch-Site", "", "Origin", "https://console.example")
		// Navigation from elsewhere reads only.
		v.want(http.StatusOK, "GET", "/api/v1/status", "", header...)
	}
}

func TestTheTokenNeedsNoOrigin(t *testing.T) {
	v := newVisit(t, "")
	v.want(http.StatusNoContent, "POST", "/api/v1/schedule/pause", "", "Authorization", "Bearer "+token, "Sec-Fetch-Site", "cross-site")
	v.signIn("alice")
	v.want(http.StatusUnauthorized, "GET", "/api/v1/status", "", "Authorization", "Bearer wrong")
}

func TestFailedSignInsAreSlowedDown(t *testing.T) {
	v := newVisit(t, "")
	guess := func() reply { return v.do("POST", "/api/v1/sessions", `{"name":"alice","password":"wrong"}`) }
	for range nameBurst {
		if got := guess(); got.StatusCode != http.StatusUnauthorized {
			t.Fatalf("%d", got.StatusCode)
		}
	}
	got := guess()
	if got.StatusCode != http.StatusTooManyRequests || got.Header.Get("Retry-After") != "10" || got.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %v", got.StatusCode, got.Header)
	}
	v.want(http.StatusTooManyRequests, "POST", "/api/v1/sessions", `{"name":"alice","password":"correct"}`)
	v.signIn("bob") // somebody else at the same address is not held up yet
	v.pass(nameEvery)
	v.signIn("alice")

	for i := range addressBurst {
		v.address = fmt.Sprintf("[2001:db8::%d]:1", i+1)
		v.want(http.StatusUnauthorized, "POST", "/api/v1/sessions", fmt.Sprintf(`{"name":"user%d","password":"wrong"}`, i))
	}
	v.want(http.StatusTooManyRequests, "POST", "/api/v1/sessions", `{"name":"bob","password":"correct"}`)
	v.address = "[2001:db8:0:1::1]:1"
	v.signIn("bob")
}

func TestSignInsThatCannotBeCheckedAreNoGuesses(t *testing.T) {
	v := newVisit(t, "")
	for err, want := range map[error]int{account.ErrBusy: http.StatusTooManyRequests, control.ErrBucket: http.StatusServiceUnavailable, errors.New("x"): http.StatusInternalServerError} {
		v.fake.fail(err)
		for range 2 * addressBurst {
			v.want(want, "POST", "/api/v1/sessions", `{"name":"alice","password":"correct"}`)
		}
	}
	v.fake.fail(nil)
	v.signIn("alice")
	v.fake.change(func() { v.fake.users = nil })
	v.want(http.StatusForbidden, "POST", "/api/v1/sessions", `{"name":"alice","password":"correct"}`)
}

func TestAThrottleIsBounded(t *testing.T) {
	now := then
	th := newThrottle(func() time.Time { return now }, 1, time.Second)
	for i := range 2 * maxThrottled {
		th.take(fmt.Sprint(i))
	}
	if wait := th.take("new"); len(th.owed) > maxThrottled || wait > 0 {
		t.Errorf("%d keys, and a new one waits %v for what others did", len(th.owed), wait)
	}
	if th.take("new") == 0 {
		t.Error("what was let in is not counted")
	}
	now = now.Add(2 * maxThrottled * time.Second)
	if wait := th.take("newer"); wait > 0 || len(th.owed) > 2 {
		t.Errorf("after a while: wait %v, %d keys", wait, len(th.owed))
	}
}

func TestSessionsAreBounded(t *testing.T) {
	now := then
	s := newSessions(func() time.Time { return now })
	u := account.User{Name: "alice", Role: account.Admin}
	find := func(string) (account.User, bool) { return u, true }
	first, _ := s.begin(u, 1)
	for range maxUserSessions + 5 {
		now = now.Add(time.Second)
		s.begin(u, 1)
	}
	if found, _ := s.find(first, 1, find, true); found != nil || len(s.all) != maxUserSessions {
		t.Errorf("%d sessions, the first of them %v", len(s.all), found)
	}
}
