package control

import (
	"bytes"
	"context"
	"errors"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// Resign signs a control object anew where seal.Ring.Resign finds that due, its
// content unchanged, and reports whether it did. A missing object and a lease
// that is held are left alone. Unknown outcomes are resolved: it is done when
// the object reads as signed.
func (s *Store) Resign(ctx context.Context, kind ha.Kind, key string) (renewed bool, err error) {
	var last error
	for range 5 {
		signed, attrs, err := s.fetch(ctx, key, "")
		if errors.Is(err, blobstore.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		object, err := s.decode(kind, key, signed)
		if err != nil {
			return false, err
		}
		if l, ok := object.(*ha.Lease); ok && !l.Released {
			return false, nil
		}
		next, err := s.ring.Resign(s.scope(kind, key), signed)
		if err != nil {
			return false, err
		}
		if bytes.Equal(next, signed) {
			return last != nil, nil
		}
		_, last = s.Put(ctx, key, next, blobstore.IfMatch(attrs.Token))
		if last == nil {
			return true, nil
		}
		if !errors.Is(last, blobstore.ErrPrecondition) && !errors.Is(last, blobstore.ErrUnknownOutcome) {
			return false, last
		}
	}
	return false, last
}
