package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-ha/understudy/e2e/openapi"
	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha/report"
)

// page is an instance's console behind a proxy that holds every call of the API
// and its answer against the API's own OpenAPI document.
type page struct {
	*host
	url    string
	socket *http.Client

	mu        sync.Mutex
	documents map[bool]*openapi.Document // by whether it is the set-up's
	checked   map[string]int             // calls
}

func newPage(h *host) *page {
	h.t.Helper()
	p := &page{host: h, documents: map[bool]*openapi.Document{}, checked: map[string]int{}}
	p.socket = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", h.path("data/agent.sock"))
	}}}
	var target *url.URL
	for _, entry := range h.env {
		if address, found := strings.CutPrefix(entry, "UNDERSTUDY_LISTEN="); found {
			target = &url.URL{Scheme: "http", Host: address}
		}
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		FlushInterval:  -1,
		ModifyResponse: p.check,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), bodyKey{}, body)))
	}))
	h.t.Cleanup(s.Close)
	p.url = s.URL
	return p
}

type bodyKey struct{}

// check holds a call of the console's against the document, unless it is a
// stream's.
func (p *page) check(resp *http.Response) error {
	path := resp.Request.URL.Path
	if !strings.HasPrefix(path, "/api/") || path == "/api/v1/openapi.json" || path == "/api/v1/notifications" || strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return nil
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	d, err := p.document(strings.HasPrefix(path, "/api/v1/setup"))
	if err != nil {
		p.t.Errorf("%s: read the OpenAPI document: %v", p.name, err)
		return nil
	}
	sent, _ := resp.Request.Context().Value(bodyKey{}).([]byte)
	p.mu.Lock()
	p.checked[resp.Request.Method+" "+path]++
	p.mu.Unlock()
	if err := errors.Join(d.Request(resp.Request, sent), d.Response(resp.Request, resp.StatusCode, resp.Header, answer)); err != nil {
		p.t.Errorf("%s %s (%d) is not as the document says: %v\n%s", resp.Request.Method, path, resp.StatusCode, err, answer[:min(len(answer), 400)])
	}
	return nil
}

func (p *page) document(ofSetup bool) (*openapi.Document, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.documents[ofSetup]; d != nil {
		return d, nil
	}
	resp, err := p.socket.Get("http://agent/api/v1/openapi.json")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	d, err := openapi.Parse(text)
	if err != nil {
		return nil, err
	}
	p.documents[ofSetup] = d
	return d, nil
}

// without takes variables from a host.
func (h *host) without(names ...string) {
	var left []string
	for _, entry := range h.env {
		name, _, _ := strings.Cut(entry, "=")
		keep := true
		for _, n := range names {
			keep = keep && n != name
		}
		if keep {
			left = append(left, entry)
		}
	}
	h.env = left
}

var codePattern = regexp.MustCompile(`code=(\S+)`)

// code is the one-time code that the agent has logged.
func (h *host) code() string {
	h.t.Helper()
	var code string
	h.eventually("logs the one-time code", func() error {
		log, err := os.ReadFile(h.path("agent.log"))
		if found := codePattern.FindSubmatch(log); found != nil {
			code = string(found[1])
			return nil
		}
		return fmt.Errorf("%w: %s", errors.Join(err, errors.New("not yet")), log)
	})
	return code
}

// consoleStory is the seed's walk-through, in browsers.
type consoleStory struct {
	t    *testing.T
	a, b *page
	user string
}

const password = "correct horse battery"

// look checks and keeps a page as it is.
func look(b *server.Browser, name string) {
	b.Accessible(name)
	b.Shoot(name)
}

// TestConsoleTellsTheSeedsStory walks through the three chapters as a person
// does: set up the active, set up a standby, promote the standby; then back,
// with the keyboard alone, at night and on a phone.
func TestConsoleTellsTheSeedsStory(t *testing.T) {
	minio := server.SharedMinIO(t)
	c := newCluster(t, minio.NewBucket(t), minio.Env())
	s := &consoleStory{t: t, user: "admin"}
	for name, to := range map[string]**page{"host-a": &s.a, "host-b": &s.b} {
		h := c.host(name, newPlain(t, filepath.Join(c.dir, name+"-app")))
		h.without("UNDERSTUDY_KEY_FILE", "UNDERSTUDY_URL", "UNDERSTUDY_BUCKET")
		h.launch()
		*to = newPage(h)
	}
	one, two := server.OpenBrowser(t, server.Desktop), server.OpenBrowser(t, server.Desktop)
	key := s.setUpTheActive(one, c.bucket)
	s.setUpAStandby(two, one, c.bucket, key)
	s.promoteTheStandby(two, one)
	s.backByKeyboard(one)
	for _, p := range []*page{s.a, s.b} {
		if len(p.checked) < 10 {
			t.Errorf("few calls were held against the document: %v", p.checked)
		}
	}
}

// setUpTheActive is the seed's first chapter. It gives the key.
func (s *consoleStory) setUpTheActive(b *server.Browser, bucket string) string {
	b.Open(s.a.url)
	b.See("Set up this instance", "belongs to no cluster yet")
	look(b, "1-code")
	b.Fill("One-time code", "WRONG-CODE")
	b.Click("Continue")
	b.See("this is not the one-time code")
	b.Fill("One-time code", strings.ToLower(s.a.code()))
	b.Click("Continue")
	b.See("Replication Configuration", "Instance type")
	b.Click("Active")
	b.Fill("This instance's address", s.a.url)
	b.Fill("Bucket", "file:///dev/null/bucket")
	b.Click("Check the bucket")
	b.See("The bucket cannot be used")
	b.Fill("Bucket", bucket)
	b.Click("Check the bucket")
	b.See("The bucket is safe to use", "It holds no cluster yet")
	b.Fill("Shared authentication key", "understudy_key1_mistyped")
	b.WaitFor("the key's mistake", `document.querySelector("textarea").getAttribute("aria-invalid") === "true"`)
	b.Click("Generate Key")
	b.See("The key is well-formed")
	key := b.Value("Shared authentication key")
	b.Fill("Replication frequency, in minutes", "2")
	b.Fill("User", s.user)
	b.Fill("Password", "short")
	b.Click("Create")
	b.WaitFor("the page stays, as the password is too short", `document.querySelector("[name=password]").matches(":invalid")`)
	b.Fill("Password", password)
	b.Fill("Password again", password+"x")
	b.Click("Create")
	b.WaitFor("the page stays, as the passwords differ", `document.querySelector("[name=repeated]").matches(":invalid")`)
	b.Fill("Password again", password)
	b.See("What will be protected", "files directory")
	b.Click("Templates for the YAML file")
	b.See("Copy it into", "path: /srv/myapp/data")
	b.FitsWidth("set-up")
	lookEverywhere(b, "1-set-up")
	b.Click("Create")
	b.See("The cluster is made", "The agent runs.", "Next steps", "Keep the key", key, "understudy join --bucket ", "files", "directory", "promote (true)")
	lookEverywhere(b, "1-made")
	b.Click("Open the console")
	s.signIn(b, "This is host-a, the active.")
	b.See("Can somebody take over now?", "There is no standby.", "What to do next", "Nothing is wrong here")
	s.keptPrivately(key)
	b.Click("Instance Configuration")
	b.See("host-a", "this one")
	b.WaitFor("the only entry", `document.querySelectorAll("tbody tr").length === 1`)
	b.Click("Add Instance")
	b.Fill("Address, with http:// or https://", s.b.url)
	look(b, "1-add-instance")
	b.Press(server.Enter)
	b.See("(not joined yet)", "registered")
	look(b, "1-instances")
	b.Click("Backups")
	b.See("1 shown", "first of its epoch")
	b.Click("Back up now")
	b.See("2 shown", "asked for in the console")
	s.addAWebhook(b)
	return key
}

// addAWebhook has somebody else told of events, and tries it.
func (s *consoleStory) addAWebhook(b *server.Browser) {
	s.t.Helper()
	told := make(chan string, 100) // what is told while nobody looks is dropped
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil && r.Header.Get("webhook-signature") != "" {
			select {
			case told <- string(body):
			default:
			}
		}
	}))
	s.t.Cleanup(receiver.Close)
	b.Click("Webhooks")
	b.See("No webhooks.")
	b.Click("Add Webhook")
	b.Click("Only some kinds of events")
	b.Fill("URL", receiver.URL+"/hook")
	look(b, "1-add-webhook")
	b.Press(server.Enter)
	b.See("The webhook's secret", "whsec_")
	look(b, "1-webhook-secret")
	b.Click("Close")
	b.See(receiver.URL+"/hook", "warn, alarm")
	b.Click("Send a test to " + receiver.URL + "/hook")
	b.See("The test reached " + receiver.URL + "/hook")
	body := ""
	for !strings.Contains(body, "this webhook works") { // it is told of what happens meanwhile, too
		body = received(s.t, "the webhook is told", told)
	}
	if !strings.Contains(body, "user "+s.user) {
		s.t.Errorf("the webhook was told: %s", body)
	}
	look(b, "1-webhooks")
}

// keptPrivately: what was entered is in the data folder, for nobody else.
func (s *consoleStory) keptPrivately(key string) {
	s.t.Helper()
	for name, want := range map[string]string{"data/key": key, "data/settings.json": s.a.url} {
		path := s.a.path(name)
		info, err := os.Stat(path)
		text, err2 := os.ReadFile(path)
		if err := errors.Join(err, err2); err != nil || info.Mode().Perm() != 0o600 || !strings.Contains(string(text), want) {
			s.t.Errorf("%s: %v, mode %v", name, err, info)
		}
	}
}

func (s *consoleStory) signIn(b *server.Browser, who string) {
	s.t.Helper()
	b.See("Sign in", who)
	b.Fill("User", s.user)
	b.Fill("Password", password)
	b.Click("Sign in")
	b.See("Sign out")
}

// setUpAStandby is the second chapter.
func (s *consoleStory) setUpAStandby(b, active *server.Browser, bucket, key string) {
	b.Open(s.b.url)
	b.Fill("One-time code", s.b.code())
	b.Click("Continue")
	b.See("Instance type")
	b.Click("Standby")
	b.Fill("This instance's address", s.b.url)
	b.Fill("Bucket", bucket)
	b.Click("Check the bucket")
	b.See("It holds a cluster already")
	b.Fill("Shared authentication key", key)
	b.See("The key is well-formed")
	b.Use(server.Night)
	look(b, "2-set-up-dark")
	b.Use(server.Desktop)
	b.Click("Join")
	b.See("This instance has joined", "The agent runs.", "Next steps", "whether this standby could take over")
	b.Click("Open the console")
	s.signIn(b, "This is host-b, a standby. The active is host-a.")
	b.See("Can somebody take over now?", "host-b can take over from host-a.")
	look(b, "2-overview")
	b.Click("Instance Configuration")
	b.See("host-a", "host-b", "in sync")
	b.WaitFor("the link to the active", fmt.Sprintf(`document.querySelector('header a[href^=%q]')`, s.a.url))
	look(b, "2-instances")
	active.Click("Instance Configuration")
	active.See("host-b", "in sync")
	// The server refuses what the page does not offer.
	status := server.Eval[int](b, `fetch("api/v1/config", { method: "PUT", headers: { "Content-Type": "application/json" }, body: '{"frequency":"3m"}' }).then((r) => r.status)`)
	if status != http.StatusConflict {
		s.t.Errorf("a standby answers a change with %d", status)
	}
}

// promoteTheStandby is the third chapter.
func (s *consoleStory) promoteTheStandby(b, old *server.Browser) {
	b.Click("Replication Configuration")
	b.See("This instance")
	look(b, "3-standby")
	server.Eval[bool](b, `(document.querySelector(".head button").click(), true)`)
	b.See("Backup to restore", "It would work now.", "Nothing is lost: host-a makes a final backup first")
	if !server.Eval[bool](b, `document.querySelector("[name=backup]:checked").closest("tr").innerText.includes("newest")`) {
		s.t.Error("the newest backup is not chosen")
	}
	b.Fill("Reason", "a test")
	b.Fill("Type host-b to confirm", "host-a")
	server.Eval[bool](b, `(document.querySelector("main button[type=submit]").click(), true)`)
	b.See("Type host-b to confirm.")
	b.Fill("Type host-b to confirm", "host-b")
	look(b, "3-make-active")
	server.Eval[bool](b, `(document.querySelector("main button[type=submit]").click(), true)`)
	b.See("host-b is being made the active")
	b.See("host-b is the active now", "You are the active.", "Downtime of the application", "Everybody was signed out", "This instance is the active.")
	look(b, "3-promoted")
	b.Click("Sign in again")
	s.signIn(b, "This is host-b, the active.")
	b.See("Can somebody take over now?", "host-b became the active in place of host-a, by switchover", "Nothing was lost.")
	look(b, "3-overview")
	b.Click("Events")
	b.Click("Show")
	server.Eval[bool](b, `((e) => { e.value = "cluster"; e.dispatchEvent(new Event("change")); return true; })(document.querySelector("main select"))`)
	b.See("What happened to the cluster", "a test")
	look(b, "3-history")
	// Whoever looked at the old active is signed out there.
	old.See("Sign in", "host-b is the active now, in epoch 2: host-a was replaced while this page was open")
	s.a.is(report.StateInSync)
	s.signIn(old, "This is host-a, a standby. The active is host-b.")
	b.Click("Instance Configuration")
	b.See("host-a", "in sync")
	look(b, "3-instances")
}

// backByKeyboard promotes the first instance again, without a mouse, at night
// and on a phone.
func (s *consoleStory) backByKeyboard(b *server.Browser) {
	b.Use(server.NightPhone)
	b.Open(s.a.url)
	b.See("Can somebody take over now?")
	b.FitsWidth("Overview")
	look(b, "4-overview-phone")
	b.Press(server.Tab)
	if at := b.Focused(); at != "Skip to content" {
		s.t.Errorf("the first stop of the keyboard is %q", at)
	}
	b.TabTo("Make Active")
	b.Press(server.Enter)
	b.See("It would work now.")
	b.FitsWidth("Make Active")
	look(b, "4-make-active-phone")
	b.TabTo("Switchover")
	b.Press(server.ArrowDown)
	b.See("what changed after", "host-b is alive: a switchover would lose nothing")
	b.Press(server.ArrowUp)
	b.See("Nothing is lost: host-b makes a final backup first")
	b.TabTo("Type host-a to confirm")
	b.Type("host-a")
	b.TabTo("Make Active")
	b.Press(server.Enter)
	b.See("host-a is the active now")
	if at := b.Focused(); at != "Sign in again" {
		s.t.Errorf("after the promotion the focus is on %q", at)
	}
	look(b, "4-promoted-phone")
	b.Press(server.Enter)
	b.See("This is host-a, the active.")
	b.Type(s.user)
	b.TabTo("Password")
	b.Type(password)
	b.Press(server.Enter)
	b.See("Can somebody take over now?")
	b.TabTo("Sign out")
	b.Press(server.Enter)
	b.See("You have signed out.")
}
