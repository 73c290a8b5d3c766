package edge

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
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
	resp, err := exchange(req, srv.Client().Do, limit)
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
