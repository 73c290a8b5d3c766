package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers on TCP with handler, and gives a client of it.
func serve(t *testing.T, handler http.HandlerFunc, opts ...Option) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	c, err := New(server.URL, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); server.Close() })
	return c
}

func answer(w http.ResponseWriter, status int, kind, body string) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func TestTargets(t *testing.T) {
	for target, want := range map[string]string{
		"":                       DefaultSocket,
		"/run/u/agent.sock":      "/run/u/agent.sock",
		"unix:///run/agent.sock": "/run/agent.sock",
		"http://h:7878/":         "http://h:7878",
		"https://h/understudy":   "https://h/understudy",
	} {
		base, socket, err := parseTarget(target)
		if socket != "" {
			base = socket
		}
		if err != nil || base != want {
			t.Errorf("%q: %q, %v", target, base, err)
		}
	}
	for _, target := range []string{"agent.sock", "host:7878", "ftp://h", "http://", "http://user:pass@h", "http://h?x=1", "unix://agent.sock"} {
		if c, err := New(target); err == nil {
			t.Errorf("%q: no error", target)
			c.Close()
		}
	}
}

func TestBackupSaysThatATaskHasCompleted(t *testing.T) {
	var got string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = fmt.Sprintf("%s %s %s %s %s", r.Method, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), body)
		if strings.Contains(string(body), `"wait":true`) {
			answer(w, http.StatusOK, "application/json", `{"state":"published","id":"b8","epoch":3,"sequence":8,"digest":"d","time":"2026-03-04T05:06:07Z","later":"field"}`)
			return
		}
		answer(w, http.StatusAccepted, "application/json", `{"state":"accepted"}`)
	}, WithToken("t0k"))
	if err := c.Backup(t.Context(), "import done"); err != nil {
		t.Fatal(err)
	}
	if want := `POST /api/v1/backups Bearer t0k application/json {"reason":"import done","trigger":"task","wait":false}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	b, err := c.BackupAndWait(t.Context(), "")
	if err != nil || b.ID != "b8" || b.Epoch != 3 || b.Sequence != 8 || b.Time.Year() != 2026 {
		t.Errorf("backup %+v, %v", b, err)
	}
}

func TestARefusalIsAProblem(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusConflict, "application/problem+json", `{"type":"about:blank","title":"Conflict","status":409,"detail":"this instance is not the active: ask b"}`)
	})
	err := c.Backup(t.Context(), "")
	var p *Problem
	if !errors.As(err, &p) || !p.Refused() || !Refused(err) || err.Error() != "this instance is not the active: ask b" {
		t.Errorf("got %v", err)
	}
	if Refused(errors.New("other")) || Refused(nil) {
		t.Error("another error counts as refused")
	}
}

func TestProblemsSayWhatIsWrongWithWhich(t *testing.T) {
	for _, c := range []struct {
		status     int
		kind, body string
		want       string
	}{
		{422, "application/problem+json", `{"title":"Unprocessable Entity","detail":"validation failed","errors":[{"message":"expected one of","location":"body.mode"},{"message":"odd"}]}`, "validation failed: body.mode: expected one of; odd"},
		{502, "text/html", "<html>from a proxy", "502 Bad Gateway"},
		{500, "application/problem+json", "", "500 Internal Server Error"},
		{401, "application/problem+json", `{"title":"Unauthorized","status":999}`, "401 Unauthorized"},
		{307, "text/plain", "", "307 Temporary Redirect"},
	} {
		client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://elsewhere.invalid/")
			answer(w, c.status, c.kind, c.body)
		})
		err := client.Do(t.Context(), "GET", "/x", nil, nil)
		var p *Problem
		if !errors.As(err, &p) || p.Status != c.status || err.Error() != c.want {
			t.Errorf("%d %s: %v", c.status, c.body, err)
		}
	}
}

func TestLeaderTellsWhoIsActive(t *testing.T) {
	status, body := http.StatusOK, `{"leading":true,"role":"active","epoch":3,"instance":"a","active":"a","active_url":"http://a"}`
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/leader" {
			t.Errorf("asked %s", r.URL.Path)
		}
		answer(w, status, "application/json", body)
	})
	l, err := c.Leader(t.Context())
	if err != nil || l != (Leader{Leading: true, Role: "active", Epoch: 3, Active: "a", ActiveURL: "http://a"}) {
		t.Errorf("active: %+v, %v", l, err)
	}
	status, body = http.StatusServiceUnavailable, `{"leading":false,"role":"standby","epoch":3,"active":"a"}`
	if l, err = c.Leader(t.Context()); err != nil || l.Leading || l.Active != "a" {
		t.Errorf("standby: %+v, %v", l, err)
	}
	if role, err := c.Role(t.Context()); err != nil || role != "standby" {
		t.Errorf("role %q, %v", role, err)
	}
	for _, other := range []string{`{"status":503,"title":"proxy"}`, "<html>", ""} {
		body = other
		if l, err := c.Leader(t.Context()); err == nil {
			t.Errorf("%q: %+v", other, l)
		}
	}
	status = http.StatusNotFound
	var p *Problem
	if _, err := c.Role(t.Context()); !errors.As(err, &p) || p.Status != http.StatusNotFound {
		t.Errorf("not an agent: %v", err)
	}
}

func TestOverASocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "client") //nolint:usetesting // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "agent.sock")
	c, err := New(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Do(t.Context(), "GET", "/", nil, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no agent: %v", err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, "application/json", fmt.Sprintf(`{"path":%q,"token":%q}`, r.URL.Path, r.Header.Get("Authorization")))
	})}}
	server.Start()
	defer server.Close()
	var got struct{ Path, Token string }
	if err := c.Do(t.Context(), "GET", "/api/v1/status", nil, &got); err != nil || got.Path != "/api/v1/status" || got.Token != "" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAnswersThatAreNotJSON(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "text/html", "<html>") })
	var out any
	if err := c.Do(t.Context(), "GET", "/x", nil, &out); err == nil || !strings.Contains(err.Error(), "GET /x") {
		t.Errorf("got %v", err)
	}
	if err := c.Do(t.Context(), "POST", "/x", func() {}, nil); err == nil {
		t.Error("a request that cannot be written: no error")
	}
	if err := c.Do(t.Context(), "GE T", "/x", nil, nil); err == nil {
		t.Error("a method that is none: no error")
	}
}

func TestStreamsAreRead(t *testing.T) {
	const stream = ": \n\nid: 1\ndata: {\"a\":\n: comment\ndata: 1}\n\nevent: step\ndata:2\n\nevent: nothing\n\nid: 9\r\ndata: crlf\r\n\r\ndata: cut short"
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") != "text/event-stream" {
			t.Errorf("Accept %q", r.Header.Get("Accept"))
		}
		answer(w, http.StatusOK, "text/event-stream", stream)
	})
	var got []string
	err := c.Stream(t.Context(), "/events", func(e Event) error {
		got = append(got, fmt.Sprintf("%s|%s|%s", e.ID, e.Name, e.Data))
		return nil
	})
	want := "1||{\"a\":\n1} / |step|2 / 9||crlf"
	if err != nil || strings.Join(got, " / ") != want {
		t.Errorf("got %q, %v", strings.Join(got, " / "), err)
	}
	enough := errors.New("enough")
	if err := c.Stream(t.Context(), "/events", func(Event) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("each's error: %v", err)
	}
}

func TestAStreamEndsWithItsContext(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, "text/event-stream", "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := c.Stream(ctx, "/events", func(Event) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func FuzzStreams(f *testing.F) {
	f.Add("id: 1\nevent: e\ndata: x\n\n")
	f.Add("data\n\n\r\n:\n")
	f.Fuzz(func(t *testing.T, text string) {
		err := readEvents(strings.NewReader(text), func(e Event) error {
			if len(e.Data) == 0 {
				return errors.New("an event without data")
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// TestTheStablePartIsThere holds the names that applications rely on.
func TestTheStablePartIsThere(t *testing.T) {
	var _ interface {
		Backup(ctx context.Context, reason string) error
		BackupAndWait(ctx context.Context, reason string) (Backup, error)
		Leader(ctx context.Context) (Leader, error)
		Role(ctx context.Context) (string, error)
		Watch(ctx context.Context, every time.Duration, each func(Leader) error) error
		Do(ctx context.Context, method, path string, in, out any) error
		Stream(ctx context.Context, path string, each func(Event) error) error
		Close()
	} = (*Client)(nil)
	text, err := json.Marshal(Leader{})
	if err != nil || string(text) != `{"leading":false,"role":"","epoch":0}` {
		t.Errorf("%s, %v", text, err)
	}
}
