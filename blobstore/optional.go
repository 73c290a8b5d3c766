package blobstore

import "context"

// Wrapper is a store around another one, such as those of Retry and Limit.
type Wrapper interface{ Unwrap() Store }

// As finds the store, at s or within it, that is also a T: a provider
// implements more than Store only where it can.
func As[T any](s Store) (T, bool) {
	for {
		if found, ok := s.(T); ok {
			return found, true
		}
		w, ok := s.(Wrapper)
		if !ok {
			var none T
			return none, false
		}
		s = w.Unwrap()
	}
}

// Strangers is what a provider has in whose buckets objects may lie that no
// key names, and that Store.List leaves out.
type Strangers interface {
	// Stranger names such an object below the store's prefix; "" if there is
	// none.
	Stranger(ctx context.Context) (string, error)
}
