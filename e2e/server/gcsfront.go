package server

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// gcsFront stands before fake-gcs-server and lets it do what Google does and
// it, with its data on disk, does not: a read that meets a write sees one
// version (it opens the file after it has told the size), and what was deleted
// is no hindrance (it leaves the folders, and makes no object of their name).
type gcsFront struct {
	data  string // the folder of the buckets' folders
	proxy *httputil.ReverseProxy
	mu    sync.RWMutex // held to change objects, or to read them
}

// newGCSFront makes a front for the server at backend, which takes requests to
// the host public for downloads, however the client came here.
func newGCSFront(backend, public, data string) *gcsFront {
	target := &url.URL{Scheme: "http", Host: backend}
	return &gcsFront{data: data, proxy: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = public
		},
		// What the server does not answer is not answered.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}}
}

// ServeHTTP implements http.Handler. It holds a request until it is whole, and
// an answer likewise, so that nobody's pace holds up the others.
func (f *gcsFront) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the client has gone, and with it the write
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	answer := httptest.NewRecorder()
	f.forward(answer, r)
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = answer.Body.WriteTo(w) // fails if the client has gone
}

func (f *gcsFront) forward(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		f.mu.RLock()
		defer f.mu.RUnlock()
	} else {
		f.mu.Lock()
		defer f.mu.Unlock()
	}
	f.proxy.ServeHTTP(w, r)
	if r.Method == http.MethodDelete {
		f.tidy(r.URL.Path)
	}
}

// tidy removes the folders that a deleted object leaves empty, given the path
// of the request that deleted it.
func (f *gcsFront) tidy(path string) {
	_, path, _ = strings.Cut(path, "/b/")
	bucket, object, ok := strings.Cut(path, "/o/")
	if !ok {
		return
	}
	for dir := filepath.Dir(object); dir != "."; dir = filepath.Dir(dir) {
		if syscall.Rmdir(filepath.Join(f.data, bucket, dir)) != nil {
			return // it is not empty, or no folder
		}
	}
}
