package control

import (
	"context"
	"errors"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// ReadOutcome is what the error of a Read means to the machine.
func ReadOutcome(err error) ha.Outcome {
	switch {
	case err == nil:
		return ha.OK
	case errors.Is(err, ErrUnverified):
		return ha.Unverified
	case errors.Is(err, blobstore.ErrNotFound):
		return ha.Missing
	case errors.Is(err, blobstore.ErrNotModified):
		return ha.NotModified
	}
	return ha.Unknown
}

// Unreachable reports whether an error means that the bucket does not answer
// now, and may later.
func Unreachable(err error) bool {
	if errors.Is(err, ErrBucket) || errors.Is(err, ErrUnverified) {
		return false
	}
	var e *blobstore.Error
	return errors.As(err, &e) || errors.Is(err, context.DeadlineExceeded)
}
