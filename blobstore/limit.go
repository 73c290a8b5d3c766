package blobstore

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"golang.org/x/time/rate"
)

// LimitOptions says how fast which blobs travel.
type LimitOptions struct {
	// Prefix is of the keys that the limits are about: those of the bulk of the
	// data. Others never wait, nor do they count.
	Prefix string
	// Upload and Download are bytes per second; 0 is no limit.
	Upload, Download int64
}

// limitPiece is the most bytes that are waited for at once, and that may go
// ahead of time.
const limitPiece = 64 << 10

// Limit bounds how fast blobs are written and read, all of them together. A
// blob that is written waits until its bytes are allowed and then goes in one
// request at full speed, so that the rate is an average over blobs; what is
// read comes at the rate itself. Waiting ends with the context.
func Limit(s Store, opt LimitOptions) Store {
	if opt.Upload <= 0 && opt.Download <= 0 {
		return s
	}
	return &limited{Store: s, prefix: opt.Prefix, up: newLimiter(opt.Upload), down: newLimiter(opt.Download)}
}

// newLimiter is nil for no limit.
func newLimiter(perSecond int64) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), limitPiece)
}

type limited struct {
	Store
	prefix   string
	up, down *rate.Limiter
}

// Unwrap implements Wrapper.
func (l *limited) Unwrap() Store { return l.Store }

func (l *limited) Put(ctx context.Context, key string, body []byte, cond Condition) (Attrs, error) {
	if l.up != nil && strings.HasPrefix(key, l.prefix) {
		if err := await(ctx, l.up, len(body)); err != nil {
			return Attrs{}, &Error{Op: "put", Key: key, Kind: ErrUnavailable, Err: err}
		}
	}
	return l.Store.Put(ctx, key, body, cond)
}

func (l *limited) Get(ctx context.Context, key string, opt GetOptions) (io.ReadCloser, Attrs, error) {
	body, attrs, err := l.Store.Get(ctx, key, opt)
	if err != nil || l.down == nil || !strings.HasPrefix(key, l.prefix) {
		return body, attrs, err
	}
	return &limitedBody{ReadCloser: body, ctx: ctx, limiter: l.down}, attrs, nil
}

type limitedBody struct {
	io.ReadCloser
	ctx     context.Context // of the Get: a body is read within it
	limiter *rate.Limiter
}

// Read waits after it has read: a reader whose body is at its end has waited
// for all of it.
func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), limitPiece)])
	if waited := await(b.ctx, b.limiter, n); waited != nil && err == nil {
		err = waited
	}
	return n, err
}

// await waits until n bytes are allowed. It does not wait for what the
// context's deadline will not allow.
func await(ctx context.Context, l *rate.Limiter, n int) error {
	for n > 0 {
		piece := min(n, limitPiece)
		if err := l.WaitN(ctx, piece); err != nil {
			// It says so in words of its own, before the deadline or behind it.
			return fmt.Errorf("wait for the limit of %.0f bytes per second: %w", float64(l.Limit()), cmp.Or(ctx.Err(), context.DeadlineExceeded))
		}
		n -= piece
	}
	return nil
}
