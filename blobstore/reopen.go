package blobstore

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"
	"time"
)

// ReopenOptions tunes Reopen. The zero value is good.
type ReopenOptions struct {
	// Every is how long it stays with a store that it has opened anew; default
	// 10 s.
	Every time.Duration
	// Now is a monotonic clock; nil is the system's.
	Now func() time.Time
}

// Reopen is a store that is opened anew, a request at a time, when it denies
// access: credentials that were rotated (a shared file, a file that a variable
// names, a host's role) are read again so, whatever the provider. The request
// that was denied is tried once more then; it has written nothing.
func Reopen(ctx context.Context, open func(context.Context) (Store, error), opt ReopenOptions) (Store, error) {
	if opt.Every <= 0 {
		opt.Every = 10 * time.Second
	}
	if opt.Now == nil {
		opt.Now = time.Now //nolint:forbidigo // the default
	}
	s, err := open(ctx)
	if err != nil {
		return nil, err
	}
	r := &reopening{open: open, opt: opt, now: s, at: opt.Now()}
	if _, ok := s.(Lifecycle); ok {
		return &reopeningRules{r}, nil
	}
	return r, nil
}

type reopening struct {
	open func(context.Context) (Store, error)
	opt  ReopenOptions

	mu  sync.Mutex
	now Store
	at  time.Time // when it was opened
}

// Unwrap implements Wrapper.
func (r *reopening) Unwrap() Store { return r.current() }

func (r *reopening) current() Store {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

// anew gives another store than the one that has denied access; nil when it is
// too early for one, or none can be opened.
func (r *reopening) anew(ctx context.Context, denied Store) Store {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now != denied {
		return r.now // somebody else has opened it
	}
	if r.opt.Now().Sub(r.at) < r.opt.Every || ctx.Err() != nil {
		return nil
	}
	r.at = r.opt.Now()
	// What is opened outlives this request.
	s, err := r.open(context.WithoutCancel(ctx))
	if err != nil {
		return nil // that access was denied says more
	}
	r.now = s
	return s
}

// again does something with the store, and once more with another one if access
// was denied.
func again[T any](ctx context.Context, r *reopening, do func(Store) (T, error)) (T, error) {
	s := r.current()
	result, err := do(s)
	if err == nil || !errors.Is(err, ErrDenied) {
		return result, err
	}
	if s = r.anew(ctx, s); s == nil {
		return result, err
	}
	return do(s)
}

func (r *reopening) Get(ctx context.Context, key string, opt GetOptions) (io.ReadCloser, Attrs, error) {
	type opened struct {
		body  io.ReadCloser
		attrs Attrs
	}
	got, err := again(ctx, r, func(s Store) (opened, error) {
		body, attrs, err := s.Get(ctx, key, opt)
		return opened{body, attrs}, err
	})
	return got.body, got.attrs, err
}

func (r *reopening) Stat(ctx context.Context, key string) (Attrs, error) {
	return again(ctx, r, func(s Store) (Attrs, error) { return s.Stat(ctx, key) })
}

func (r *reopening) Put(ctx context.Context, key string, body []byte, cond Condition) (Attrs, error) {
	return again(ctx, r, func(s Store) (Attrs, error) { return s.Put(ctx, key, body, cond) })
}

func (r *reopening) Delete(ctx context.Context, key string) error {
	_, err := again(ctx, r, func(s Store) (struct{}, error) { return struct{}{}, s.Delete(ctx, key) })
	return err
}

func (r *reopening) List(ctx context.Context, prefix, after string) iter.Seq2[Attrs, error] {
	return func(yield func(Attrs, error) bool) {
		last, s := after, r.current()
		for {
			var denied error
			for attrs, err := range s.List(ctx, prefix, last) {
				if errors.Is(err, ErrDenied) {
					denied = err
					break
				}
				if !yield(attrs, err) || err != nil {
					return
				}
				last = attrs.Key
			}
			if denied == nil {
				return
			}
			if s = r.anew(ctx, s); s == nil {
				yield(Attrs{}, denied)
				return
			}
		}
	}
}

// reopeningRules is reopening where the store has rules.
type reopeningRules struct{ *reopening }

// Rules implements Lifecycle.
func (r *reopeningRules) Rules(ctx context.Context) ([]Rule, error) {
	return again(ctx, r.reopening, func(s Store) ([]Rule, error) { return s.(Lifecycle).Rules(ctx) })
}

// SetRules implements Lifecycle.
func (r *reopeningRules) SetRules(ctx context.Context, own []Rule) error {
	_, err := again(ctx, r.reopening, func(s Store) (struct{}, error) { return struct{}{}, s.(Lifecycle).SetRules(ctx, own) })
	return err
}
