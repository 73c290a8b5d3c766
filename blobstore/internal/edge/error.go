package edge

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/understudy-ha/understudy/blobstore"
)

// Fail makes the error of an operation on a key.
func Fail(op, key string, kind, err error) error {
	return &blobstore.Error{Op: op, Key: key, Kind: kind, Err: Brief(err)}
}

// briefError tells an SDK's error in the words that help: the layers around
// them repeat the operation and the key, or are empty.
type briefError struct {
	text string
	err  error
}

func (e *briefError) Error() string { return e.text }
func (e *briefError) Unwrap() error { return e.err }

// Say gives an error other words. The error itself stays its cause.
func Say(err error, format string, args ...any) error {
	return &briefError{text: fmt.Sprintf(format, args...), err: err}
}

// Brief leaves out of a failed request's error what its caller says anyway:
// the method and the URL. Of a certificate that is not trusted it says what to
// do.
func Brief(err error) error {
	var said *briefError
	var certificate x509.UnknownAuthorityError
	var request *url.Error
	switch {
	case errors.As(err, &said):
		return err
	case errors.As(err, &certificate):
		return Say(err, "the store's certificate is not trusted (%v): set SSL_CERT_FILE to a file with the certificate of its CA (for s3://, AWS_CA_BUNDLE does as well)", certificate)
	case errors.As(err, &request):
		return Say(err, "%v", request.Err)
	}
	return err
}

// OneLine makes one line of a text of several.
func OneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// StatusText tells of an answer that has no words of its own.
func StatusText(status int) string {
	return strings.TrimSpace(fmt.Sprintf("HTTP status %d %s", status, http.StatusText(status)))
}

// GivenUp reports whether an error says that the caller's context has ended.
func GivenUp(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// Kind is the kind of an error by the status of the store's answer; 0 is no
// answer.
func Kind(status int) error {
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

// PutKind turns the kind of a put's error into that of a put with a
// condition. sent says whether the request may have reached the store.
func PutKind(kind error, cond blobstore.Condition, sent bool) error {
	switch {
	case !cond.Conditional() || !sent:
		return kind // nothing was written, whatever went wrong
	case errors.Is(kind, blobstore.ErrNotFound) && cond.Match() != "":
		return blobstore.ErrPrecondition // some stores' word for a missing blob
	case errors.Is(kind, blobstore.ErrUnavailable):
		return blobstore.ErrUnknownOutcome
	}
	return kind
}
