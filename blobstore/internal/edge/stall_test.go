package edge

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// get reads what a server answers, until it stalls for longer than limit.
func get(t *testing.T, limit time.Duration, answer http.HandlerFunc) (string, error) {
	t.Helper()
	srv := httptest.NewServer(answer)
	defer srv.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := exchange(req, srv.Client().Do, time.Minute, limit)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestABodyThatStallsBreaksOff(t *testing.T) {
	body, err := get(t, 50*time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("a beginning"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done() // the client has gone
	})
	if !errors.Is(err, errStalled) || body != "a beginning" {
		t.Errorf("read %q, %v; want the beginning, and then that it stalled", body, err)
	}
}

func TestASlowBodyArrives(t *testing.T) {
	const limit = 500 * time.Millisecond
	body, err := get(t, limit, func(w http.ResponseWriter, _ *http.Request) {
		tick := time.NewTicker(limit / 10)
		defer tick.Stop()
		for range 15 { // longer than the limit in all
			<-tick.C
			_, _ = w.Write([]byte("x"))
			_ = http.NewResponseController(w).Flush()
		}
	})
	if err != nil || len(body) != 15 {
		t.Errorf("read %q, %v", body, err)
	}
}

// An answer is waited for from when its request was written.
func TestAStoreThatDoesNotAnswerIsLeft(t *testing.T) {
	gone := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-gone
	}))
	defer srv.Close()
	defer close(gone)
	const limit = 500 * time.Millisecond // a tick, a fifth of it, comes late on a busy machine
	slow, body := io.Pipe()
	go func() {
		tick := time.NewTicker(limit / 5)
		defer tick.Stop()
		for range 15 { // longer than the limit in all
			<-tick.C
			_, _ = body.Write([]byte("x"))
		}
		_ = body.Close()
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, srv.URL, slow)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	resp, err := exchange(req, srv.Client().Do, limit, time.Minute)
	if err == nil {
		resp.Body.Close()
	}
	if !errors.Is(err, errSilent) {
		t.Errorf("it is left with %v", err)
	}
	if took := time.Since(began); took < 4*limit {
		t.Errorf("it was left after %v, though its request was still being written", took)
	}
}

func TestAnAnswerToALongBodyMayTakeLonger(t *testing.T) {
	const longest = thinkTime + onTheWay/slowLine*time.Second
	for what, c := range map[string]struct {
		body io.Reader
		size int64
		want time.Duration
	}{
		"none":      {nil, 0, thinkTime},
		"empty":     {http.NoBody, 0, thinkTime},
		"short":     {strings.NewReader("x"), slowLine, thinkTime + time.Second},
		"long":      {strings.NewReader("x"), 1 << 40, longest},
		"not known": {io.MultiReader(strings.NewReader("x")), 0, longest},
		"chunked":   {strings.NewReader("x"), -1, longest},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://store", c.body)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = c.size
		if got := answerWithin(req); got != c.want {
			t.Errorf("%s: the answer may take %v, want %v", what, got, c.want)
		}
	}
}
