package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
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
	switch {
	case errors.Is(err, ErrNotYet):
		if !tip.Time.IsZero() && c.cfg.Now().Sub(tip.Time) > Life-expirySlack {
			return Part{}, nil // nothing was written since it expired
		}
		return Part{}, fmt.Errorf("stream %s of source %s %w: %w: somebody deleted it; restore the object's last version", id, source, ErrBelow, err)
	case err != nil:
		return Part{}, err
	case digest(object) != tip.Digest:
		return Part{}, fmt.Errorf("stream %s of source %s %w: part %s is another one than that: somebody replaced it; restore the object's last version",
			id, source, ErrBelow, key)
	}
	p, _, err := c.codec.decode(source, id, tip.Sequence, object)
	if err != nil {
		return Part{}, partError(source, id, tip.Sequence, err)
	}
	return p, nil
}
