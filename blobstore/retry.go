package blobstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// RetryOptions tunes Retry. The zero value is good.
type RetryOptions struct {
	// Budget is how long one operation may go on trying, from its first
	// attempt; default 30 s. A list gets it anew whenever it makes progress.
	Budget time.Duration
	// First and Max bound the pause between attempts, which grows by half
	// each time and is jittered by as much; defaults 100 ms and 5 s.
	First, Max time.Duration
	// Notify, when set, is told of each failure that is about to be retried.
	Notify func(err error, pause time.Duration)
}

// Retry tries again what failed with ErrUnavailable: reads, lists, deletes and
// unconditional puts, all of which may safely happen twice. It never repeats a
// conditional put, whose first attempt may still land, and never tries once
// the context is done. A body that breaks off while it is read goes on where it
// broke, by a request for the rest.
func Retry(s Store, opt RetryOptions) Store {
	if opt.Budget <= 0 {
		opt.Budget = 30 * time.Second
	}
	if opt.First <= 0 {
		opt.First = 100 * time.Millisecond
	}
	if opt.Max <= 0 {
		opt.Max = 5 * time.Second
	}
	return &retrying{s: s, opt: opt}
}

type retrying struct {
	s   Store
	opt RetryOptions
}

// Unwrap implements Wrapper.
func (r *retrying) Unwrap() Store { return r.s }

func (r *retrying) Get(ctx context.Context, key string, opt GetOptions) (io.ReadCloser, Attrs, error) {
	body, attrs, err := r.get(ctx, key, opt)
	if err != nil {
		return nil, attrs, err
	}
	return r.resume(ctx, key, opt, body, attrs), attrs, nil
}

// get opens a body, which is watched by nobody.
func (r *retrying) get(ctx context.Context, key string, opt GetOptions) (io.ReadCloser, Attrs, error) {
	type opened struct {
		body  io.ReadCloser
		attrs Attrs
	}
	got, err := retry(ctx, r, "get", key, func() (opened, error) {
		body, attrs, err := r.s.Get(ctx, key, opt)
		return opened{body, attrs}, err
	})
	return got.body, got.attrs, err
}

func (r *retrying) Stat(ctx context.Context, key string) (Attrs, error) {
	return retry(ctx, r, "stat", key, func() (Attrs, error) { return r.s.Stat(ctx, key) })
}

func (r *retrying) Put(ctx context.Context, key string, body []byte, cond Condition) (Attrs, error) {
	if cond.Conditional() {
		return r.s.Put(ctx, key, body, cond)
	}
	return retry(ctx, r, "put", key, func() (Attrs, error) { return r.s.Put(ctx, key, body, cond) })
}

func (r *retrying) Delete(ctx context.Context, key string) error {
	_, err := retry(ctx, r, "delete", key, func() (struct{}, error) { return struct{}{}, r.s.Delete(ctx, key) })
	return err
}

// errResume ends a retry loop of List that has made progress, so that the next
// one starts with a full budget: the consumer's time must not eat it.
var errResume = errors.New("resume the list")

func (r *retrying) List(ctx context.Context, prefix, after string) iter.Seq2[Attrs, error] {
	return func(yield func(Attrs, error) bool) {
		after := after // the sequence may be ranged over again
		for {
			stopped, progress := false, false
			_, err := retry(ctx, r, "list", prefix, func() (struct{}, error) {
				for attrs, err := range r.s.List(ctx, prefix, after) {
					if err != nil && progress && retryable(ctx, err) {
						return struct{}{}, errResume
					}
					if err != nil {
						return struct{}{}, err
					}
					after, progress = attrs.Key, true
					if stopped = !yield(attrs, nil); stopped {
						break
					}
				}
				return struct{}{}, nil
			})
			switch {
			case errors.Is(err, errResume):
				continue
			case err != nil && !stopped:
				yield(Attrs{}, err)
			}
			return
		}
	}
}

// Transient reports whether another attempt may do better: the store was
// unavailable, and not because of a certificate, which is refused again.
func Transient(err error) bool {
	var certificate *tls.CertificateVerificationError
	return errors.Is(err, ErrUnavailable) && !errors.As(err, &certificate)
}

func retryable(ctx context.Context, err error) bool { return Transient(err) && ctx.Err() == nil }

func retry[T any](ctx context.Context, r *retrying, op, key string, try func() (T, error)) (T, error) {
	var last error
	result, err := backoff.Retry(ctx, func() (T, error) {
		var none T
		if err := ctx.Err(); err != nil {
			return none, backoff.Permanent(err)
		}
		result, err := try()
		if err == nil {
			return result, nil
		}
		last = err
		if !retryable(ctx, err) {
			return none, backoff.Permanent(err)
		}
		return none, err
	},
		backoff.WithBackOff(r.backOff()),
		backoff.WithMaxElapsedTime(r.opt.Budget),
		backoff.WithNotify(r.notify))
	if err != nil && !errors.Is(err, last) { // the context ended before or between attempts
		err = &Error{Op: op, Key: key, Kind: ErrUnavailable, Err: givenUp(err, last)}
	}
	return result, err
}

// givenUp says in one line what failed last, if anything did, and why it was
// not tried again.
func givenUp(why, last error) error {
	if last == nil {
		return why
	}
	if e := (*Error)(nil); errors.As(last, &e) && e.Err != nil {
		last = e.Err // operation, key and kind are told already
	}
	return fmt.Errorf("%w (given up: %w)", last, why)
}

func (r *retrying) backOff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = r.opt.First, r.opt.Max
	return b
}

func (r *retrying) notify(err error, pause time.Duration) {
	if r.opt.Notify != nil {
		r.opt.Notify(err, pause)
	}
}
