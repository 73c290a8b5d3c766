package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// resumeTries is how often a body is asked for again without a byte of it having come.
const resumeTries = 4

// resuming is a body that goes on, by a request for the rest, where it broke off. The
// rest is of the same version of the blob, or else an error.
type resuming struct {
	ctx   context.Context // of the Get: a body is read within it
	r     *retrying
	key   string
	first Attrs
	at    int64 // where in the blob the next byte is
	end   int64 // where in the blob the body ends

	body   io.ReadCloser
	broken error // why it has to be asked for again
	tries  int   // since a byte came
	pauses *backoff.ExponentialBackOff
}

// resume watches a body. One whose end is not known is left as it is.
func (r *retrying) resume(ctx context.Context, key string, opt GetOptions, body io.ReadCloser, attrs Attrs) io.ReadCloser {
	end := attrs.Size
	if opt.Length > 0 {
		end = min(end, opt.Offset+opt.Length)
	}
	if end <= opt.Offset || attrs.Token == "" {
		return body
	}
	return &resuming{ctx: ctx, r: r, key: key, first: attrs, at: opt.Offset, end: end, body: body, pauses: r.backOff()}
}

// Read implements io.Reader.
func (b *resuming) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if b.broken != nil {
			if err := b.again(); err != nil {
				return 0, err
			}
		}
		n, err := b.body.Read(p)
		b.at += int64(n)
		if n > 0 && b.tries > 0 {
			b.tries = 0
			b.pauses.Reset()
		}
		switch {
		case err == nil, b.at >= b.end: // what a provider finds wrong at the end stays wrong
			return n, err
		case errors.Is(err, io.EOF):
			err = io.ErrUnexpectedEOF
		}
		b.broken = err
		if n > 0 {
			return n, nil
		}
	}
}

// again asks for the rest of the body.
func (b *resuming) again() error {
	why := b.broken
	b.tries++
	if b.tries > resumeTries || b.ctx.Err() != nil {
		return why
	}
	if b.tries > 1 {
		if err := b.wait(why); err != nil {
			return err
		}
	}
	_ = b.body.Close() // it is broken
	body, attrs, err := b.r.get(b.ctx, b.key, GetOptions{Offset: b.at, Length: b.end - b.at})
	if err == nil && (attrs.Token != b.first.Token || attrs.Size != b.first.Size) {
		_ = body.Close() // nothing was read of it
		err = &Error{Op: "get", Key: b.key, Kind: ErrUnavailable, Err: errors.New("it was replaced while it was read")}
	}
	if err != nil {
		b.body = io.NopCloser(nil) // closed
		b.tries = resumeTries      // the store has had its time
		return fmt.Errorf("%w (its body had broken off at byte %d: %w)", err, b.at, why)
	}
	b.body, b.broken = body, nil
	return nil
}

// wait pauses before another try.
func (b *resuming) wait(why error) error {
	pause := b.pauses.NextBackOff()
	b.r.notify(why, pause)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	}
}

// Close implements io.Closer.
func (b *resuming) Close() error { return b.body.Close() }
