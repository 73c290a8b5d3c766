package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// echo is a server that answers with what it got.
func echo(t *testing.T) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // its client broke off
		}
		w.Header().Set("Last-Modified", "Tue, 01 Jan 2030 12:00:00 GMT")
		fmt.Fprintf(w, "%s %s host=%s match=%q auth=%q %s", r.Method, r.URL.RequestURI(), r.Host, r.Header.Get("If-Match"), r.Header.Get("Authorization"), body)
	}))
	t.Cleanup(srv.Close)
	return srv
}

// send makes a request to the proxy on a connection of its own, which net/http
// never tries again on.
func send(ctx context.Context, p *Proxy, method, path, body string) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.URL()+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Close = true
	req.Host = "signed.example"
	req.Header.Set("If-Match", "token")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return &answer{resp.StatusCode, resp.Header, text}, err
}

func TestProxyPassesRequestsAsTheyAre(t *testing.T) {
	p := NewProxy(t, echo(t).URL)
	got, err := send(t.Context(), p, http.MethodPut, "/b/a%2Fb%20c?q=1&X-Sig=a%2Fb", "body")
	if want := `PUT /b/a%2Fb%20c?q=1&X-Sig=a%2Fb host=signed.example match="token" auth="" body`; err != nil || string(got.body) != want {
		t.Errorf("got %q, %v; want %q", got.body, err, want)
	}
	if seen := p.Requests(); len(seen) != 1 || seen[0].Method != http.MethodPut || seen[0].Path != "/b/a/b c" || seen[0].Query.Get("q") != "1" {
		t.Errorf("requests %+v", seen)
	}
}

func TestProxyStrikesWhereAndWhenTold(t *testing.T) {
	p := NewProxy(t, echo(t).URL)
	p.Inject(NetFault{When: Writing, After: 1, Times: 2, Do: Answer(http.StatusServiceUnavailable)})
	for i, step := range []struct {
		method string
		want   int
	}{{"GET", 200}, {"PUT", 200}, {"GET", 200}, {"PUT", 503}, {"HEAD", 200}, {"DELETE", 503}, {"PUT", 200}} {
		resp, err := send(t.Context(), p, step.method, "/k", "")
		if err != nil || resp.status != step.want {
			t.Errorf("step %d, %s: %v, %v; want %d", i, step.method, resp, err, step.want)
		}
	}
}

func TestProxyStripsConditionsAndSignsAgain(t *testing.T) {
	p := NewProxy(t, echo(t).URL)
	sign := func(r *http.Request) {
		r.Header.Set("Authorization", "for "+r.URL.RawQuery+r.Header.Get("If-Match"))
	}
	p.Inject(NetFault{Do: StripConditions(sign)})
	got, err := send(t.Context(), p, http.MethodPost, "/o?ifGenerationMatch=0&name=k", "x")
	if want := `POST /o?name=k host=signed.example match="" auth="for name=k" x`; err != nil || string(got.body) != want {
		t.Errorf("got %q, %v; want %q", got.body, err, want)
	}
}

func TestProxySkewsTheClock(t *testing.T) {
	p := NewProxy(t, echo(t).URL)
	p.Inject(NetFault{Do: SkewClock(-time.Hour)})
	resp, err := send(t.Context(), p, http.MethodGet, "/k", "")
	if err != nil {
		t.Fatal(err)
	}
	date, err := http.ParseTime(resp.header.Get("Date"))
	if off := time.Until(date) + time.Hour; err != nil || off.Abs() > time.Minute {
		t.Errorf("the date %v, %v is off by %s", date, err, off)
	}
	if got, want := resp.header.Get("Last-Modified"), "Tue, 01 Jan 2030 11:00:00 GMT"; got != want {
		t.Errorf("modified %s, want %s", got, want)
	}
}

func TestProxyCutsBodies(t *testing.T) {
	p := NewProxy(t, echo(t).URL)
	p.Inject(NetFault{Do: CutBody(5)})
	got, err := send(t.Context(), p, http.MethodGet, "/k", "")
	if got == nil || string(got.body) != "GET /" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %+v, %v; want five bytes and an error", got, err)
	}
}

func TestProxyHoldsRequestsUntilTheyLand(t *testing.T) {
	p := NewProxy(t, echo(t).URL)
	for _, body := range []string{"one", "two"} {
		hold, held := HoldRequest()
		p.Inject(NetFault{Do: hold})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-held.Arrived()
			cancel()
		}()
		if _, err := send(ctx, p, http.MethodPut, "/k", body); !errors.Is(err, context.Canceled) {
			t.Errorf("held request: %v", err)
		}
		if status, err := held.Land(t.Context()); err != nil || status != http.StatusOK {
			t.Errorf("land: %d, %v", status, err)
		}
		if _, err := held.Land(t.Context()); err == nil {
			t.Error("landed what was not held")
		}
	}
}

func TestProxyStallsBodies(t *testing.T) {
	p := NewProxy(t, echo(t).URL)
	stall, gate := StallBody(3)
	p.Inject(NetFault{Times: 2, Do: stall})
	go func() {
		<-gate.Arrived()
		gate.Open()
	}()
	got, err := send(t.Context(), p, http.MethodPut, "/k", "0123456789")
	if err != nil || !strings.HasSuffix(string(got.body), "0123456789") {
		t.Errorf("got %+v, %v; want the whole body", got, err)
	}
}
