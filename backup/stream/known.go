package stream

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
)

// ReadKnown is Read for who knows by the head that the stream goes up to a tip. A part up
// to there that somebody overwrote or deleted is read from an earlier version, where the
// bucket keeps them; where it keeps none, a part that is missing is ErrGone. The tip is the
// part that the head names, or ErrBroken.
func (c *Chain) ReadKnown(ctx context.Context, source string, id ID, after, known Tip) (Part, Tip, error) {
	if after.Sequence >= known.Sequence {
		return c.Read(ctx, source, id, after)
	}
	key := Key(source, id, after.Sequence+1)
	take := func(object []byte) (Part, Tip, error) {
		p, tip, err := c.take(source, id, after, object)
		if err == nil && tip.Sequence == known.Sequence && tip.Digest != known.Digest {
			err = partError(source, id, tip.Sequence, fmt.Errorf("%w: it is another part than was confirmed", ErrBroken))
		}
		return p, tip, err
	}
	object, err := c.fetch(ctx, key)
	var p Part
	var tip Tip
	if err == nil {
		p, tip, err = take(object)
	}
	if !isLost(err) {
		return p, tip, err
	}
	right := func(object []byte) bool { _, _, err := take(object); return err == nil }
	switch earlier, failed := c.earlier(ctx, key, right); {
	case failed != nil:
		return Part{}, Tip{}, failed
	case earlier != nil:
		return take(earlier)
	case errors.Is(err, ErrNotYet):
		return Part{}, Tip{}, fmt.Errorf("the log of source %s from position %d on %w: a newer backup is needed: %w", source, after.To, ErrGone, err)
	}
	return Part{}, Tip{}, err
}

// Check looks whether what a stream holds from a position on is in the bucket, up to a tip
// that the head names, and counts the parts. It lists them, and reads the last one:
// ErrBelow where that is not the part that was confirmed, ErrGone where one before it is
// missing. Earlier versions do not count, as they expire.
func (c *Chain) Check(ctx context.Context, source string, id ID, from Position, known Tip) (parts int, err error) {
	now := *c
	now.cfg.Store = struct{ blobstore.Store }{c.cfg.Store} // which hides what else it is
	if _, err := now.confirm(ctx, source, id, known); err != nil || from >= known.To {
		return 0, err
	}
	after, err := now.Find(ctx, source, id, from, known)
	if err != nil {
		return 0, err
	}
	next := after.Sequence + 1
	for attrs, err := range now.cfg.Store.List(ctx, path.Dir(Key(source, id, next))+"/", Key(source, id, after.Sequence)) {
		if err != nil {
			return 0, fmt.Errorf("list stream %s of source %s: %w", id, source, err)
		}
		if next > known.Sequence || attrs.Key != Key(source, id, next) {
			break
		}
		next++
	}
	if next <= known.Sequence {
		return 0, fmt.Errorf("stream %s of source %s: part %s %w, and nothing behind it can be used: a newer backup is needed", id, source, Key(source, id, next), ErrGone)
	}
	return int(next - after.Sequence - 1), nil //nolint:gosec // as many as were listed
}

// isLost reports whether an error means that a part is not there, or is not what was
// written.
func isLost(err error) bool {
	for _, kind := range []error{ErrNotYet, ErrDamaged, ErrBroken, seal.ErrSignature, seal.ErrScope, seal.ErrUnknownKey} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// earlier reads an earlier version of an object; nil where none is right. It is the oldest
// that is right: a name that was free again may have been taken by another part since.
func (c *Chain) earlier(ctx context.Context, key string, right func([]byte) bool) ([]byte, error) {
	versions, ok := blobstore.As[blobstore.Versions](c.cfg.Store)
	if !ok {
		return nil, nil
	}
	object, version, err := blobstore.FindVersion(ctx, versions, key, maxObject, right)
	switch {
	case errors.Is(err, blobstore.ErrNotFound), errors.Is(err, blobstore.ErrDenied):
		return nil, nil // what is wrong with the object is what is worth telling
	case err != nil:
		return nil, err
	}
	if c.cfg.Recovered != nil {
		c.cfg.Recovered(ctx, key, version)
	}
	return object, nil
}
