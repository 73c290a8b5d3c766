package blobstore

import (
	"errors"
	"fmt"
)

// Error kinds. Test with errors.Is.
var (
	ErrNotFound       = errors.New("not found")
	ErrPrecondition   = errors.New("precondition failed")
	ErrNotModified    = errors.New("not modified")
	ErrDenied         = errors.New("access denied")
	ErrInvalid        = errors.New("invalid request")
	ErrUnavailable    = errors.New("store unavailable")
	ErrUnknownOutcome = errors.New("outcome of the write unknown")
)

// Error is a failed operation on a store: what was tried on which key, the
// kind of failure, and the provider's own error as the cause.
type Error struct {
	Op   string // "get", "stat", "put", "list", "delete"
	Key  string
	Kind error // one of the kinds above
	Err  error // the provider's error; may be nil
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s %s: %v", e.Op, e.Key, e.Kind)
	}
	return fmt.Sprintf("%s %s: %v: %v", e.Op, e.Key, e.Kind, e.Err)
}

// Unwrap gives the kind and the cause, so that errors.Is finds either.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}
