package gcsstore

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

func TestPutReportsTheStoresTimeAndIsProtected(t *testing.T) {
	want := time.Date(2031, 2, 3, 4, 5, 6, 789_000_000, time.UTC)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		for _, part := range []string{`"crc32c":"AAAAAA=="`, `"cacheControl":"no-store, no-transform"`} {
			if !bytes.Contains(sent, []byte(part)) {
				t.Errorf("sent %q, want %s in it", sent, part)
			}
		}
		if got := r.URL.Query(); got.Get("ifGenerationMatch") != "0" || got.Get("uploadType") != "multipart" {
			t.Errorf("query %v", got)
		}
		fmt.Fprintf(w, `{"name":"prefix/k","size":"0","generation":"17","timeCreated":%q}`, want.Format(time.RFC3339Nano))
	}))
	defer srv.Close()
	attrs, err := openAt(t, srv.URL).Put(t.Context(), "k", nil, blobstore.IfAbsent())
	if err != nil || !attrs.Time.Equal(want) || attrs.Token != "17" || attrs.Key != "k" {
		t.Errorf("attributes %+v, %v; want time %v", attrs, err, want)
	}
}

func TestPutSendsOneRequestWithoutCopying(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // 16 MiB
	requests := new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if n, err := io.Copy(io.Discard, r.Body); n < int64(len(want)) || err != nil {
			t.Errorf("received %d bytes, %v", n, err)
		}
		_, _ = io.WriteString(w, `{"name":"prefix/k","generation":"1"}`)
	}))
	defer srv.Close()
	s := openAt(t, srv.URL)
	put := func() {
		if _, err := s.Put(t.Context(), "k", want, blobstore.Always); err != nil {
			t.Error(err)
		}
	}
	put() // opens the connection
	const puts = 4
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range puts {
		put()
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / puts; got > uint64(len(want))/8 {
		t.Errorf("a put of %d bytes allocates %d", len(want), got)
	}
	if got := requests.Load(); got != puts+1 {
		t.Errorf("%d requests for %d puts", got, puts+1)
	}
}

// A transport may read a body after the answer has come: not once it was given back.
func TestABodyIsLentForOnePut(t *testing.T) {
	lent := new(loan)
	body := lent.to(strings.NewReader("body"))
	if n, err := body.Read(make([]byte, 2)); n != 2 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	lent.end()
	if n, err := body.Read(make([]byte, 2)); n != 0 || err == nil {
		t.Errorf("read %d, %v after the loan", n, err)
	}
}
