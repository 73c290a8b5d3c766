package edge

import "github.com/understudy-ha/understudy/blobstore"

// Translator turns a provider's errors into those of package blobstore.
type Translator struct {
	// Kind is the kind of an error.
	Kind func(err error) error
	// Words says what the store answered, or why no answer came. op is the
	// operation.
	Words func(op string, err error) error
	// Refused reports whether an error says that the store has not acted; nil: what
	// was sent may have been done.
	Refused func(err error) bool
}

// Error is the error of an operation on a key.
func (t Translator) Error(op, key string, err error) error {
	return Fail(op, key, t.Kind(err), t.Words(op, err))
}

// Conditional is the error of a put with a condition. sent says whether the request
// may have reached the store.
func (t Translator) Conditional(key string, cond blobstore.Condition, sent bool, err error) error {
	if t.Refused != nil && t.Refused(err) {
		sent = false
	}
	return Fail("put", key, PutKind(t.Kind(err), cond, sent), t.Words("put", err))
}
