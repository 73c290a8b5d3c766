package storetest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

// RunSilence is the part of the suite about servers that do not answer. It
// needs no real one. dial opens a store at an endpoint like
// http://127.0.0.1:9000, with made-up credentials.
func RunSilence(t *testing.T, dial func(t *testing.T, endpoint string) blobstore.Store) {
	tests := []struct {
		name string
		test func(*testing.T, func(*testing.T, string) blobstore.Store)
	}{
		{"nothing sent means nothing written", testNothingSent},
		{"a reset while it is sent is an unknown outcome", testResetWhileSent},
		{"a put that is cancelled while it is sent is an unknown outcome", testCancelledWhileSent},
		{"a hung store holds nobody longer than his context", testHung},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.test(t, dial) })
	}
}

func testNothingSent(t *testing.T, dial func(*testing.T, string) blobstore.Store) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close() // nobody listens there any more
	s := dial(t, srv.URL)
	want := ": store unavailable: dial tcp " + srv.Listener.Addr().String() + ": connect: connection refused"
	wantError := func(op string, err error) {
		t.Helper()
		WantKind(t, op, err, blobstore.ErrUnavailable)
		if err == nil || err.Error() != op+" key"+want {
			t.Errorf("error %q, want %q", err, op+" key"+want)
		}
	}
	for _, cond := range []blobstore.Condition{blobstore.Always, blobstore.IfAbsent(), blobstore.IfMatch("1")} {
		_, err := s.Put(t.Context(), "key", nil, cond)
		wantError("put", err)
	}
	_, err := s.Stat(t.Context(), "key")
	wantError("stat", err)
	_, _, err = s.Get(t.Context(), "key", blobstore.GetOptions{})
	wantError("get", err)
}

func testResetWhileSent(t *testing.T, dial func(*testing.T, string) blobstore.Store) {
	requests := new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, _ = io.CopyN(io.Discard, r.Body, 1<<10)
		panic(http.ErrAbortHandler)
	}))
	defer srv.Close()
	s := dial(t, srv.URL)
	body := make([]byte, 1<<20)
	for _, cond := range []blobstore.Condition{blobstore.IfAbsent(), blobstore.IfMatch("1")} {
		_, err := s.Put(t.Context(), "k", body, cond)
		WantKind(t, "put", err, blobstore.ErrUnknownOutcome)
	}
	_, err := s.Put(t.Context(), "k", body, blobstore.Always)
	WantKind(t, "unconditional put", err, blobstore.ErrUnavailable)
	if got := requests.Load(); got != 3 {
		t.Errorf("%d requests for three puts: something retries", got)
	}
}

func testCancelledWhileSent(t *testing.T, dial func(*testing.T, string) blobstore.Store) {
	arrived, release := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(arrived)
		<-release
	}))
	defer srv.Close()
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := dial(t, srv.URL).Put(ctx, "k", []byte("x"), blobstore.IfAbsent())
	WantKind(t, "put", err, blobstore.ErrUnknownOutcome)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v does not tell that it was cancelled", err)
	}
}

func testHung(t *testing.T, dial func(*testing.T, string) blobstore.Store) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer srv.Close()
	defer close(release)
	s := dial(t, srv.URL)
	get := func(opt blobstore.GetOptions) func(context.Context) error {
		return func(ctx context.Context) error { _, _, err := readPart(ctx, s, "k", opt); return err }
	}
	body := make([]byte, 1<<20)
	calls := map[string]func(context.Context) error{
		"get":    get(blobstore.GetOptions{}),
		"poll":   get(blobstore.GetOptions{IfChanged: "1"}),
		"stat":   func(ctx context.Context) error { _, err := s.Stat(ctx, "k"); return err },
		"put":    func(ctx context.Context) error { _, err := s.Put(ctx, "k", body, blobstore.Always); return err },
		"delete": func(ctx context.Context) error { return s.Delete(ctx, "k") },
		"list": func(ctx context.Context) error {
			for _, err := range s.List(ctx, "", "") {
				return err
			}
			return nil
		},
	}
	if rules, ok := s.(blobstore.Lifecycle); ok {
		calls["rules"] = func(ctx context.Context) error { _, err := rules.Rules(ctx); return err }
	}
	for name, call := range calls {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := call(ctx)
		cancel()
		WantKind(t, name, err, blobstore.ErrUnavailable)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: error %v does not tell the deadline", name, err)
		}
	}
}

// RunOnePut checks that a large body is sent in one request, from where it
// lies. answer is a server that takes it, and may look at the request, whose
// body has been read.
func RunOnePut(t *testing.T, dial func(t *testing.T, endpoint string) blobstore.Store, answer http.HandlerFunc) {
	body := make([]byte, 32<<20) // more than any SDK sends in one request by itself
	requests := new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if n, err := io.Copy(io.Discard, r.Body); n != int64(len(body)) || err != nil {
			t.Errorf("received %d bytes, %v", n, err)
		}
		answer(w, r)
	}))
	defer srv.Close()
	s := dial(t, srv.URL)
	put := func() {
		if _, err := s.Put(t.Context(), "k", body, blobstore.IfAbsent()); err != nil {
			t.Error(err)
		}
	}
	put() // opens the connection
	const puts = 3
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range puts {
		put()
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / puts; got > uint64(len(body))/8 {
		t.Errorf("a put of %d bytes allocates %d", len(body), got)
	}
	if got := requests.Load(); got != puts+1 {
		t.Errorf("%d requests for %d puts", got, puts+1)
	}
}
