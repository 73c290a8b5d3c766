package s3store

import (
	"errors"

	"github.com/aws/smithy-go"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
	"github.com/understudy-ha/understudy/blobstore/internal/s3api"
)

// brief says what the store answered, or why no answer came.
func brief(err error) error {
	var noCredentials *credentialsError
	var api smithy.APIError
	switch {
	case errors.As(err, &noCredentials):
		return edge.Say(err, "%v", noCredentials)
	case errors.As(err, &api) && api.ErrorMessage() != "":
		return edge.Say(err, "%s: %s", api.ErrorCode(), api.ErrorMessage())
	}
	return err
}

// translator gives errors of the store's their kinds and words.
var translator = edge.Translator{
	Kind:    kindOf,
	Words:   func(op string, err error) error { return s3api.Explain(op, errorCode(err), brief(err)) },
	Refused: func(err error) bool { return errorCode(err) == s3api.Skewed },
}

func kindOf(err error) error {
	code := errorCode(err)
	var noCredentials *credentialsError
	switch {
	case edge.GivenUp(err):
		return blobstore.ErrUnavailable
	case errors.As(err, &noCredentials):
		return blobstore.ErrDenied
	case code == s3api.Skewed: // the SDK learns the difference from the answer: the next attempt can succeed
		return blobstore.ErrUnavailable
	}
	return s3api.Kind(code, errorStatus(err))
}

// errorCode returns the code that the store gave its error, or "".
func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// errorStatus returns the status of the store's answer, or 0 without one.
func errorStatus(err error) int {
	var answered interface{ HTTPStatusCode() int }
	if errors.As(err, &answered) {
		return answered.HTTPStatusCode()
	}
	return 0
}
