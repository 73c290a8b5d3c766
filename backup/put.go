package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/understudy-ha/understudy/blobstore"
)

// errOther: the key of a new manifest is taken by something else.
var errOther = errors.New("another object has this key")

// putOnce creates a blob. While the outcome of the write is not known it writes
// again: the same bytes cannot do harm twice. cond is IfAbsent, with a lock or
// without. It gives the store's time.
func (r *Repository) putOnce(ctx context.Context, key string, body []byte, cond blobstore.Condition) (time.Time, error) {
	return backoff.Retry(ctx, func() (time.Time, error) {
		attrs, err := r.Store.Put(ctx, key, body, cond)
		switch {
		case err == nil:
			return attrs.Time, nil
		case errors.Is(err, blobstore.ErrPrecondition):
			if attrs, err = r.same(ctx, key, body); err != nil {
				return time.Time{}, backoff.Permanent(err)
			}
			return attrs.Time, nil
		case errors.Is(err, blobstore.ErrUnknownOutcome), errors.Is(err, blobstore.ErrUnavailable):
			return time.Time{}, err
		default:
			return time.Time{}, backoff.Permanent(err)
		}
	}, backoff.WithMaxElapsedTime(time.Minute), backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: 100 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: 5 * time.Second,
	}))
}

// same checks that the blob that is there is the one that was to be created.
func (r *Repository) same(ctx context.Context, key string, body []byte) (attrs blobstore.Attrs, err error) {
	found := make([]byte, len(body))
	err = retryBody(ctx, func() error {
		content, a, err := r.Store.Get(ctx, key, blobstore.GetOptions{})
		if err != nil {
			return backoff.Permanent(err)
		}
		defer content.Close()
		attrs = a
		if a.Size != int64(len(body)) {
			return backoff.Permanent(errOther)
		}
		_, err = io.ReadFull(content, found)
		return err
	})
	if err == nil && !bytes.Equal(found, body) {
		err = errOther
	}
	return attrs, err
}
