package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"
)

// DropAnswer lets the server act and then breaks the connection instead of
// answering.
func DropAnswer() NetAction {
	return func(_ http.ResponseWriter, r *http.Request, pass http.Handler) {
		pass.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}
}

// Answer answers with a status, and does not pass the request on.
func Answer(status int) NetAction {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body) // the client is to send it whole, and may then reuse the connection
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(status)
	}
}

// HoldRequest takes a request whole and does not answer it: its client waits
// until it gives up. The server gets the request when the test says so, by
// Land.
func HoldRequest() (NetAction, *HeldRequest) {
	held := &HeldRequest{arrived: make(chan struct{})}
	return func(_ http.ResponseWriter, r *http.Request, pass http.Handler) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // the client gave up too early
		}
		held.hold(r, body, pass)
		<-r.Context().Done()
	}, held
}

// HeldRequest is requests that the server has yet to see.
type HeldRequest struct {
	arrived chan struct{}
	once    sync.Once

	mu    sync.Mutex
	sends []func(context.Context) int
}

func (h *HeldRequest) hold(r *http.Request, body []byte, pass http.Handler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sends = append(h.sends, func(ctx context.Context) int {
		late := r.Clone(ctx)
		late.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		pass.ServeHTTP(answer, late)
		return answer.Code
	})
	h.once.Do(func() { close(h.arrived) })
}

// Arrived is closed when the first request is held.
func (h *HeldRequest) Arrived() <-chan struct{} { return h.arrived }

// Land sends the request that has been held longest to the server, and returns
// the status of the answer: 412, for instance, when somebody else was quicker.
func (h *HeldRequest) Land(ctx context.Context) (status int, err error) {
	h.mu.Lock()
	if len(h.sends) == 0 {
		h.mu.Unlock()
		return 0, errors.New("land a held request: none is held")
	}
	send := h.sends[0]
	h.sends = h.sends[1:]
	h.mu.Unlock()
	return send(ctx), nil
}

// StallBody passes the first n bytes of a request's body on, and the others
// when the gate opens. Should the client give up first, the server's request
// breaks off there.
func StallBody(n int64) (NetAction, *Gate) {
	gate := newGate()
	return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		r.Body = &stalledBody{ReadCloser: r.Body, left: n, ended: r.Context().Done(), gate: gate}
		pass.ServeHTTP(w, r)
	}, gate
}

type stalledBody struct {
	io.ReadCloser
	left  int64
	ended <-chan struct{}
	gate  *Gate
	rest  io.Reader // what the client sent while the body stalled
}

func (b *stalledBody) Read(p []byte) (int, error) {
	if b.left > 0 {
		n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
		b.left -= int64(n)
		return n, err
	}
	if b.rest == nil {
		b.gate.arrive()
		rest, err := io.ReadAll(b.ReadCloser) // only a reader learns that a client has gone
		if err != nil {
			return 0, err
		}
		select {
		case <-b.gate.open:
		case <-b.ended:
			return 0, io.ErrUnexpectedEOF
		}
		b.rest = bytes.NewReader(rest)
	}
	return b.rest.Read(p)
}

// conditions are the headers and query parameters by which a request makes a
// condition, in lower case.
var conditions = []string{
	"if-match", "if-none-match", "if-modified-since", "if-unmodified-since",
	"x-goog-if-generation-match", "x-goog-if-metageneration-match",
	"ifgenerationmatch", "ifgenerationnotmatch", "ifmetagenerationmatch", "ifmetagenerationnotmatch",
	"x-ms-if-tags",
}

// StripConditions makes the server one that ignores preconditions: it takes
// them out of a request's headers and query. Where a signature covers them,
// sign makes a new one; nil does not. See SignS3.
func StripConditions(sign func(r *http.Request)) NetAction {
	return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		strip := func(out *http.Request) {
			for name := range out.Header {
				if slices.Contains(conditions, strings.ToLower(name)) {
					out.Header.Del(name)
				}
			}
			query := out.URL.Query()
			for name := range query {
				if slices.Contains(conditions, strings.ToLower(name)) {
					query.Del(name)
					out.URL.RawQuery = query.Encode()
				}
			}
			if sign != nil {
				sign(out)
			}
		}
		pass.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), finishKey{}, strip)))
	}
}

// SignS3 returns a function that signs a request to a store that speaks S3.
func SignS3(accessKey, secretKey, region string) func(r *http.Request) {
	return func(r *http.Request) {
		r.Header.Del("Authorization")
		signed := signer.SignV4(*r, accessKey, secretKey, "", region)
		r.Header, r.URL = signed.Header, signed.URL
	}
}

// SkewClock makes the server's clock seem to be ahead by d, or behind if d is
// negative: it changes the headers Date and Last-Modified.
func SkewClock(d time.Duration) NetAction {
	return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		answer := ask(pass, r)
		for _, name := range []string{"Date", "Last-Modified"} {
			if at, err := http.ParseTime(answer.header.Get(name)); err == nil {
				answer.header.Set(name, at.Add(d).UTC().Format(http.TimeFormat))
			}
		}
		answer.send(w, r)
	}
}

// WholeBody answers a read of a part with the whole blob, as a server does that heeds no
// ranges.
func WholeBody() NetAction {
	return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		answer := ask(pass, r)
		if part := answer.header.Get("Content-Range"); part != "" {
			_, size, _ := strings.Cut(part, "/")
			whole, err := strconv.Atoi(size)
			if err != nil {
				panic(http.ErrAbortHandler) // the test fails, for it knows the size
			}
			answer.body = append(answer.body, make([]byte, whole-len(answer.body))...)
			answer.header.Del("Content-Range")
			answer.header.Set("Content-Length", size)
			answer.status = http.StatusOK
		}
		answer.send(w, r)
	}
}

// CutBody breaks the connection after n bytes of an answer's body.
func CutBody(n int) NetAction {
	return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		answer := ask(pass, r)
		answer.header.Set("Content-Length", strconv.Itoa(len(answer.body)))
		answer.body = answer.body[:min(n, len(answer.body))]
		answer.send(w, r)
		_ = http.NewResponseController(w).Flush() // a client that has gone reads no more either
		panic(http.ErrAbortHandler)
	}
}

// answer is what a server answered, whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func ask(pass http.Handler, r *http.Request) *answer {
	recorder := httptest.NewRecorder()
	pass.ServeHTTP(recorder, r)
	return &answer{recorder.Code, recorder.Header(), recorder.Body.Bytes()}
}

func (a *answer) send(w http.ResponseWriter, r *http.Request) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.body) // a client that has gone wants no answer
	}
}
