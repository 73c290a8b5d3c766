package s3store

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/aws/smithy-go"

	"github.com/understudy-ha/understudy/blobstore"
)

func fail(op, key string, kind, err error) error {
	return &blobstore.Error{Op: op, Key: key, Kind: kind, Err: brief(err)}
}

// briefError tells an SDK's error in the words that help: the layers around
// them repeat the operation and the key, or are empty.
type briefError struct {
	text string
	err  error
}

func (e *briefError) Error() string { return e.text }
func (e *briefError) Unwrap() error { return e.err }

// brief says what the store answered, or why no answer came.
func brief(err error) error {
	var noCredentials *credentialsError
	var api smithy.APIError
	var request *url.Error
	switch {
	case errors.As(err, &noCredentials):
		return &briefError{noCredentials.Error(), err}
	case errors.As(err, &api) && api.ErrorMessage() != "":
		return &briefError{api.ErrorCode() + ": " + api.ErrorMessage(), err}
	case errors.As(err, &request):
		return &briefError{request.Err.Error(), err}
	}
	return err
}

// translate gives the error of a read, a list, a delete or an unconditional
// put its kind.
func translate(op, key string, err error) error {
	return fail(op, key, kindOf(err), err)
}

// translateConditional gives the error of a conditional put its kind. sent
// says whether the request may have reached the store.
func translateConditional(key string, cond blobstore.Condition, sent bool, err error) error {
	kind := kindOf(err)
	switch {
	case !sent || errorCode(err) == codeSkewed:
		// Nothing was written, whatever went wrong.
	case errors.Is(kind, blobstore.ErrNotFound) && cond.Match() != "":
		kind = blobstore.ErrPrecondition // some stores' word for a missing blob
	case errors.Is(kind, blobstore.ErrUnavailable):
		kind = blobstore.ErrUnknownOutcome
	}
	return fail("put", key, kind, err)
}

const (
	codeNoBucket = "NoSuchBucket"
	// codeSkewed refuses a request whose clock is off. The SDK learns the
	// difference from the answer, so that the next attempt can succeed.
	codeSkewed = "RequestTimeTooSkewed"
)

// unavailableCodes are those which hide behind a status that means something
// else.
var unavailableCodes = map[string]bool{
	codeSkewed:             true,
	"RequestTimeout":       true,
	"SlowDown":             true,
	"Throttling":           true,
	"ThrottlingException":  true,
	"RequestLimitExceeded": true,
}

// deniedCodes are refusals that come with status 400.
var deniedCodes = map[string]bool{
	"ExpiredToken":                 true,
	"InvalidToken":                 true,
	"TokenRefreshRequired":         true,
	"InvalidAccessKeyId":           true,
	"AuthorizationHeaderMalformed": true,
}

func kindOf(err error) error {
	code := errorCode(err)
	var noCredentials *credentialsError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return blobstore.ErrUnavailable
	case errors.As(err, &noCredentials):
		return blobstore.ErrDenied
	case unavailableCodes[code]:
		return blobstore.ErrUnavailable
	case code == codeNoBucket:
		return blobstore.ErrInvalid
	case deniedCodes[code]:
		return blobstore.ErrDenied
	}
	return kindOfStatus(errorStatus(err))
}

func kindOfStatus(status int) error {
	switch status {
	case http.StatusNotModified:
		return blobstore.ErrNotModified
	case http.StatusUnauthorized, http.StatusForbidden:
		return blobstore.ErrDenied
	case http.StatusNotFound:
		return blobstore.ErrNotFound
	case http.StatusPreconditionFailed:
		return blobstore.ErrPrecondition
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return blobstore.ErrUnavailable
	}
	if status >= 300 && status < 500 {
		return blobstore.ErrInvalid
	}
	return blobstore.ErrUnavailable // no answer, or a server's trouble
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
