package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

// expirySlack is by how much sooner than by Life a part may have expired: clocks differ.
const expirySlack = time.Hour

// Close ends a stream for who did not write it: a promoter. It takes in the parts behind
// a tip, and writes the end part under the first free name. The first end part counts:
// one that is there already, whosever it is, is adopted. Close returns the end part with
// its tip. p needs Source, Stream, Incarnation and End; its Time, where it has none, is
// that of the last part.
//
// after is the tip that the head names, or a later one that the caller has read. ErrBelow:
// that part is not in the bucket, so that somebody has deleted what was confirmed. That is
// not said of a part that is as old as Life.
func (c *Chain) Close(ctx context.Context, after Tip, p Part) (Part, Tip, error) {
	last, err := c.confirm(ctx, p.Source, p.Stream, after)
	switch {
	case err != nil:
		return Part{}, Tip{}, err
	case last.End != nil:
		return last, after, nil
	}
	return c.walk(ctx, last, after, p)
}

// CloseLost is Close where ErrBelow is to be borne: the part of the tip is not looked for.
func (c *Chain) CloseLost(ctx context.Context, after Tip, p Part) (Part, Tip, error) {
	return c.walk(ctx, Part{}, after, p)
}

// walk takes in what is behind a tip, whose part is last as far as that is known, and
// writes the end part.
func (c *Chain) walk(ctx context.Context, last Part, after Tip, p Part) (Part, Tip, error) {
	for {
		found, tip, err := c.Read(ctx, p.Source, p.Stream, after)
		if errors.Is(err, ErrNotYet) {
			if p.Begin == nil {
				p.Begin = last.Begin
			}
			found, tip, err = c.end(ctx, after, p)
		}
		if err != nil || found.End != nil {
			return found, tip, err
		}
		last, after = found, tip
	}
}

// end writes the end part behind a tip, and returns what has its name then.
func (c *Chain) end(ctx context.Context, after Tip, p Part) (Part, Tip, error) {
	p = p.follow(after)
	if p.Time.IsZero() {
		p.Time = after.Time
	}
	object, tip, err := c.codec.encode(&p)
	if err != nil {
		return Part{}, Tip{}, fmt.Errorf("make part %s: %w", p.Key(), err)
	}
	there, err := c.create(ctx, p.Key(), object)
	switch {
	case err != nil:
		return Part{}, Tip{}, err
	case bytes.Equal(there, object):
		return p, tip, nil
	}
	return c.take(p.Source, p.Stream, after, there)
}

// confirm reads the part of a tip. It is the zero Part where there is none, or none any
// more.
func (c *Chain) confirm(ctx context.Context, source string, id ID, tip Tip) (Part, error) {
	if tip.Sequence == 0 {
		return Part{}, nil
	}
	key := Key(source, id, tip.Sequence)
	object, err := c.fetch(ctx, key)
	if errors.Is(err, ErrNotYet) || err == nil && digest(object) != tip.Digest {
		object, err = c.confirmEarlier(ctx, key, tip, err)
	}
	switch {
	case err != nil:
		return Part{}, fmt.Errorf("stream %s of source %s: %w", id, source, err)
	case object == nil:
		return Part{}, nil
	}
	p, _, err := c.codec.decode(source, id, tip.Sequence, object)
	if err != nil {
		return Part{}, partError(source, id, tip.Sequence, err)
	}
	return p, nil
}

// confirmEarlier reads the part of a tip where it is not in its place: missing is why, or
// nil where another one is there. It is nil where none is any more.
func (c *Chain) confirmEarlier(ctx context.Context, key string, tip Tip, missing error) ([]byte, error) {
	object, err := c.earlier(ctx, key, func(object []byte) bool { return digest(object) == tip.Digest })
	switch {
	case err != nil, object != nil:
		return object, err
	case missing == nil:
		return nil, fmt.Errorf("%w: part %s was replaced by another one, and the bucket keeps no earlier version: put it back", ErrBelow, key)
	case !tip.Time.IsZero() && c.cfg.Now().Sub(tip.Time) > Life-expirySlack:
		return nil, nil // nothing was written since it expired
	case errors.Is(missing, blobstore.ErrDenied):
		return nil, fmt.Errorf("%w: %w", ErrBelow, missing)
	}
	return nil, fmt.Errorf("%w: part %s was deleted, and the bucket keeps no earlier version: put it back", ErrBelow, key)
}
