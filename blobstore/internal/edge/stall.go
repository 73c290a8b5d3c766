package edge

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stallTimeout is how long a store may give no byte of a body, or acknowledge
// none. A peer that is gone without a word, or a box between that keeps the
// connection alive, would otherwise hold a transfer for good.
const stallTimeout = time.Minute

var errStalled = errors.New("the store has sent nothing of the body for too long")

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

// Exchange sends a request by next and returns its answer, whose body breaks
// off when it stalls. It sets the request's flag; see Watch.
func Exchange(req *http.Request, next func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	return exchange(req, next, stallTimeout)
}

func exchange(req *http.Request, next func(*http.Request) (*http.Response, error), limit time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := next(observed(req.WithContext(ctx)))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp.Body = &movingBody{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, limit: limit}
	return resp, nil
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
