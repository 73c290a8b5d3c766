package backup

import (
	"context"
	"errors"
	"iter"

	"github.com/understudy-ha/understudy/blobstore"
)

// Link is one backup of a chain.
type Link struct {
	Ref      Ref
	Manifest *Manifest
}

// Chain yields the backups from tip backwards along Previous, newest first,
// each verified against the digest in its successor. It ends with the first
// backup of the cluster, or before the first one that has expired. Any other
// failure is yielded as an error, which is the last pair; so is a tip that does
// not exist.
func (r *Repository) Chain(ctx context.Context, tip Ref) iter.Seq2[Link, error] {
	return func(yield func(Link, error) bool) {
		first := true
		for next := &tip; next != nil; first = false {
			ref := *next
			m, err := r.Load(ctx, ref)
			if errors.Is(err, blobstore.ErrNotFound) && !first {
				return
			}
			if err != nil {
				yield(Link{Ref: ref}, err)
				return
			}
			if !yield(Link{Ref: ref, Manifest: m}, nil) {
				return
			}
			next = m.Previous
		}
	}
}
