package stream

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
)

// Config is what a Chain needs.
type Config struct {
	Store   blobstore.Store
	Ring    *seal.Ring
	Cluster string
	// Keys are what a log is encrypted with; nil for who reads and ends streams alone. A
	// part says itself under which keys it is.
	Keys *seal.DataKeys
	// Random makes salts and nonces.
	Random io.Reader
	// Now is the store's time, as far as it is known here.
	Now func() time.Time
	// Lock is how parts are locked for as long as they live; "" for not at all.
	Lock blobstore.LockMode
	// Recovered, when set, is told of each part that is damaged in the bucket or missing
	// from it, and of which an earlier version is read instead.
	Recovered func(ctx context.Context, key string, v blobstore.Version)
}

// Chain reads, appends to and ends the streams of one cluster. It is safe for
// concurrent use; one goroutine at a time appends to a stream. Once the ring has
// changed, another one is needed.
type Chain struct {
	cfg   Config
	codec *codec
}

// Open returns a Chain. It asks the bucket for nothing.
func Open(cfg Config) (*Chain, error) {
	codec, err := newCodec(cfg)
	if err != nil {
		return nil, fmt.Errorf("open the streams: %w", err)
	}
	return &Chain{cfg: cfg, codec: codec}, nil
}

// follow makes p the part behind a tip.
func (p Part) follow(after Tip) Part {
	p.Sequence, p.Previous, p.From = after.Sequence+1, after.Digest, after.To
	if p.End != nil {
		p.To = p.From
	}
	return p
}

// continues says why p is not the part behind a tip, or nil.
func (p *Part) continues(after Tip) error {
	switch {
	case p.Previous != after.Digest:
		return fmt.Errorf("%w: it follows another part than the one that part %d is", ErrBroken, after.Sequence)
	case p.From != after.To && (after.Sequence > 0 || after.To > 0):
		return fmt.Errorf("%w: its log begins at position %d, and the one before ends at %d", ErrBroken, p.From, after.To)
	}
	return nil
}

// Read reads the part behind a tip, with what its successor names. ErrNotYet: there is
// none. Where the bucket denied access, which S3 also does for want of a part, the error
// is blobstore.ErrDenied too.
func (c *Chain) Read(ctx context.Context, source string, id ID, after Tip) (Part, Tip, error) {
	key := Key(source, id, after.Sequence+1)
	object, err := c.fetch(ctx, key)
	if err != nil {
		return Part{}, Tip{}, err
	}
	return c.take(source, id, after, object)
}

// take verifies the object that has the name behind a tip.
func (c *Chain) take(source string, id ID, after Tip, object []byte) (Part, Tip, error) {
	p, tip, err := c.codec.decode(source, id, after.Sequence+1, object)
	if err == nil {
		err = p.continues(after)
	}
	if err != nil {
		return Part{}, Tip{}, partError(source, id, after.Sequence+1, err)
	}
	return p, tip, nil
}

// partError says which part is wrong, and what to do about it.
func partError(source string, id ID, sequence uint64, err error) error {
	key := Key(source, id, sequence)
	switch {
	case errors.Is(err, ErrDamaged), errors.Is(err, ErrBroken), errors.Is(err, seal.ErrScope), errors.Is(err, seal.ErrSignature):
		return fmt.Errorf("part %s: %w; nothing behind it can be used: the next backup holds it", key, err)
	}
	return fmt.Errorf("part %s: %w", key, err)
}

// fetch reads an object whole.
func (c *Chain) fetch(ctx context.Context, key string) ([]byte, error) {
	object, _, err := blobstore.ReadAll(ctx, c.cfg.Store, key, maxObject)
	return object, missing(key, err)
}

// missing makes what the store says of a part that is not there ErrNotYet, and of one that
// is longer than a part can be ErrDamaged.
func missing(key string, err error) error {
	var tooLong *blobstore.TooLongError
	switch {
	case errors.Is(err, blobstore.ErrNotFound):
		return fmt.Errorf("part %s: %w", key, ErrNotYet)
	case errors.Is(err, blobstore.ErrDenied):
		return fmt.Errorf("part %s: %w, or may not be read: %w", key, ErrNotYet, err)
	case errors.As(err, &tooLong):
		return fmt.Errorf("part %s: %w: %w", key, ErrDamaged, err)
	}
	return err // which names the part
}

// mostDenied is how often a name that is taken may be denied to be read: a store that does
// not show it yet may say so, and then it is one that this host may not read.
const mostDenied = 10

// create gives an object a name that nothing had, and returns what has the name then:
// the same bytes, or what was there before. It tries until the answer is clear or the
// context ends: what it writes again are the same bytes under the same name, and a
// write whose answer was lost may still land between.
func (c *Chain) create(ctx context.Context, key string, object []byte) ([]byte, error) {
	var last error
	denied := 0
	there, err := backoff.Retry(ctx, func() ([]byte, error) {
		there, err := c.tryCreate(ctx, key, object)
		if errors.Is(err, blobstore.ErrDenied) {
			denied++
		}
		if last = err; err != nil && (!again(err) || denied > mostDenied) {
			return nil, backoff.Permanent(err)
		}
		return there, err
	}, backoff.WithMaxElapsedTime(0), backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: 100 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 1.5, MaxInterval: 5 * time.Second,
	}))
	if err != nil && last != nil && !errors.Is(err, last) { // the context ended between two attempts
		err = fmt.Errorf("%w (given up: %w)", last, err)
	}
	return there, err
}

// tryCreate is one attempt of create.
func (c *Chain) tryCreate(ctx context.Context, key string, object []byte) ([]byte, error) {
	_, err := c.cfg.Store.Put(ctx, key, object, c.absent(object))
	switch {
	case err == nil:
		return object, nil
	case errors.Is(err, blobstore.ErrPrecondition):
		there, err := c.fetch(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("look what has the name of a part: %w", err)
		}
		return there, nil
	}
	return nil, err
}

// again reports whether another attempt may do better. A name that is taken and shows
// nothing is one that the store does not show yet.
func again(err error) bool {
	return errors.Is(err, blobstore.ErrUnknownOutcome) || errors.Is(err, ErrNotYet) || blobstore.Transient(err)
}

// absent is the condition under which a part is written.
func (c *Chain) absent(object []byte) blobstore.Condition {
	cond := blobstore.IfAbsent().Hashed(sha256.Sum256(object))
	if c.cfg.Lock == blobstore.NoLock {
		return cond
	}
	return cond.Locked(blobstore.LockFor(c.cfg.Lock, c.cfg.Now(), Life))
}
