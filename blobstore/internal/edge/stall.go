package edge

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stallTimeout is how long a store may give no byte of a body, or acknowledge
// none. A peer that is gone without a word, or a box between that keeps the
// connection alive, would otherwise hold a transfer for good.
const stallTimeout = time.Minute

var (
	errStalled = errors.New("the store has sent nothing of the body for too long")
	errSilent  = errors.New("the store has sent no answer for too long")
)

const (
	// thinkTime is how long a store may think once it has a request.
	thinkTime = 30 * time.Second
	// slowLine is of the slowest line that an answer is waited for on, in bytes a second.
	slowLine = 64 << 10
	// onTheWay is how much of a request's end the buffers of both kernels may hold, in
	// bytes, once it was written: each may have the 4 MiB that Linux begins to count from.
	onTheWay = 8 << 20
)

// answerWithin is how long the answer to a request may take, from when that was written. A
// slow line still carries the end of its body then.
func answerWithin(req *http.Request) time.Duration {
	size := req.ContentLength
	unknown := size < 0 || size == 0 && req.Body != nil && req.Body != http.NoBody
	if unknown || size > onTheWay {
		size = onTheWay
	}
	return thinkTime + time.Duration(size)*time.Second/slowLine
}

// TuneDialer bounds how long a connection may take, and how long what was sent
// on it may stay unacknowledged.
func TuneDialer(d *net.Dialer) {
	d.Timeout = dialTimeout
	d.Control = func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(stallTimeout.Milliseconds()))
		})
		return errors.Join(err, failed)
	}
}

// Exchange sends a request by next and returns its answer, which has to come in time, and
// whose body breaks off when it stalls. It sets the request's flag; see Watch.
func Exchange(req *http.Request, next func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	return exchange(req, next, answerWithin(req), stallTimeout)
}

func exchange(req *http.Request, next func(*http.Request) (*http.Response, error), answer, limit time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	silent := &alarm{after: answer, ring: func() { cancel(errSilent) }}
	resp, err := next(observed(req.WithContext(ctx), silent.set))
	silent.end()
	if errors.Is(context.Cause(ctx), errSilent) {
		if err == nil { // it came at the last moment, and its body cannot be read any more
			_ = resp.Body.Close()
		}
		err = errSilent
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp.Body = &movingBody{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, limit: limit}
	return resp, nil
}

// alarm rings once it was set long enough ago, unless it has ended.
type alarm struct {
	after time.Duration
	ring  func()

	mu    sync.Mutex
	timer *time.Timer
	ended bool
}

// set begins to count, anew where a request is sent once more on another connection.
func (a *alarm) set() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended { // an answer can come before all of its request was written
		return
	}
	if a.timer != nil {
		a.timer.Stop()
	}
	a.timer = time.AfterFunc(a.after, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !a.ended {
			a.ring()
		}
	})
}

// end returns once the alarm rings no more.
func (a *alarm) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	if a.timer != nil {
		a.timer.Stop()
	}
}

// movingBody is a body that ends with an error when a read takes too long.
type movingBody struct {
	io.ReadCloser
	ctx    context.Context // of its request
	cancel context.CancelCauseFunc
	limit  time.Duration
}

// Read implements io.Reader.
func (b *movingBody) Read(p []byte) (int, error) {
	stalled := time.AfterFunc(b.limit, func() { b.cancel(errStalled) })
	n, err := b.ReadCloser.Read(p)
	stalled.Stop()
	if err != nil && errors.Is(context.Cause(b.ctx), errStalled) {
		err = errStalled
	}
	return n, err
}

// Close implements io.Closer.
func (b *movingBody) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}
