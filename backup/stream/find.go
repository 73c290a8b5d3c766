package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/blobstore"
)

// firstRead is how much of a part is read for its header: most fit.
const firstRead = 8 << 10

// Find is the tip behind which the part with a position lies, among the parts up to the
// tip that the head names. That part begins at the position, or before. Where the position
// is the last one or beyond it is upTo itself: what there will be comes behind that.
// ErrGone: the part has expired, or the stream begins later.
//
// It asks for a part's header some twenty times in a stream of a million parts. A Tip
// that Find returns has no Time.
func (c *Chain) Find(ctx context.Context, source string, id ID, at Position, upTo Tip) (Tip, error) {
	if at >= upTo.To {
		return upTo, nil
	}
	// The first part that ends behind at is in [low, high]; found is that at high.
	low, high := uint64(1), upTo.Sequence+1
	var found Part
	var absent error
	for low < high {
		middle := low + (high-low)/2
		p, err := c.head(ctx, source, id, middle)
		switch {
		case errors.Is(err, ErrNotYet): // expired, as all before it
			low, absent = middle+1, err
		case err != nil:
			return Tip{}, err
		case p.To > at:
			high, found = middle, p
		default:
			low = middle + 1
		}
	}
	if high > upTo.Sequence && errors.Is(absent, blobstore.ErrDenied) {
		return Tip{}, absent
	}
	if high > upTo.Sequence || found.From > at {
		return Tip{}, fmt.Errorf("the log of source %s from position %d on (stream %s) %w: a newer backup is needed", source, at, id, ErrGone)
	}
	return Tip{Sequence: found.Sequence - 1, Digest: found.Previous, To: found.From}, nil
}

// head reads a part without its log.
func (c *Chain) head(ctx context.Context, source string, id ID, sequence uint64) (Part, error) {
	key := Key(source, id, sequence)
	object, err := c.beginning(ctx, key, firstRead)
	if err != nil {
		return Part{}, err
	}
	if _, _, size, err := split(object); errors.Is(err, errShort) && len(object) == firstRead {
		if object, err = c.beginning(ctx, key, int64(prefixSize+size)); err != nil {
			return Part{}, err
		}
	}
	p, _, _, err := c.codec.open(source, id, sequence, object)
	if err != nil {
		return Part{}, partError(source, id, sequence, err)
	}
	return p, nil
}

// beginning reads the first bytes of an object, fewer where it has fewer.
func (c *Chain) beginning(ctx context.Context, key string, n int64) ([]byte, error) {
	object, err := blobstore.ReadFirst(ctx, c.cfg.Store, key, n)
	return object, missing(key, err)
}
