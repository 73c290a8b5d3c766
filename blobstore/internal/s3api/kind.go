package s3api

import (
	"fmt"
	"net/http"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

// Codes of errors that providers know by themselves.
const (
	// NoBucket says that the bucket does not exist.
	NoBucket = "NoSuchBucket"
	// NoRules says that a bucket has no lifecycle configuration.
	NoRules = "NoSuchLifecycleConfiguration"
	// Skewed refuses a request whose clock is off.
	Skewed = "RequestTimeTooSkewed"
)

// kinds are of the codes which hide behind a status that means something else.
var kinds = map[string]error{
	NoBucket: blobstore.ErrInvalid,

	"RequestTimeout":       blobstore.ErrUnavailable,
	"SlowDown":             blobstore.ErrUnavailable,
	"Throttling":           blobstore.ErrUnavailable,
	"ThrottlingException":  blobstore.ErrUnavailable,
	"RequestLimitExceeded": blobstore.ErrUnavailable,

	"ExpiredToken":                 blobstore.ErrDenied,
	"InvalidToken":                 blobstore.ErrDenied,
	"TokenRefreshRequired":         blobstore.ErrDenied,
	"InvalidAccessKeyId":           blobstore.ErrDenied,
	"AuthorizationHeaderMalformed": blobstore.ErrDenied,
}

// RulesError is an error about a bucket's rules, given its kind, its code and
// the status of the store's answer: many a store speaks the protocol without
// this part of it.
func RulesError(kind error, code string, status int, err error) (error, error) {
	switch {
	case status == http.StatusNotImplemented, status == http.StatusMethodNotAllowed, code == "NotImplemented", code == "MethodNotAllowed":
		return blobstore.ErrInvalid, fmt.Errorf("%w: %w", blobstore.ErrNoRules, err)
	}
	return kind, err
}

// Kind is the kind of an error by its code ("" without one) and the status of
// the store's answer (0 without one).
func Kind(code string, status int) error {
	if kind, ok := kinds[code]; ok {
		return kind
	}
	return edge.Kind(status)
}

// permissions are what an operation needs, where Op names one.
var permissions = map[string]string{
	"get": "s3:GetObject", "stat": "s3:GetObject", "put": "s3:PutObject", "list": "s3:ListBucket", "delete": "s3:DeleteObject",
	"read lifecycle": "s3:GetLifecycleConfiguration", "write lifecycle": "s3:PutLifecycleConfiguration",
	"read versioning of": "s3:GetBucketVersioning", "list versions": "s3:ListBucketVersions", "get version": "s3:GetObjectVersion",
	"read object lock of": "s3:GetBucketObjectLockConfiguration", "read lock of": "s3:GetObjectRetention", "lock": "s3:PutObjectRetention",
	"delete version of": "s3:DeleteObjectVersion",
}

// Explain adds to what a store said of an operation that it denied which
// permission is needed.
func Explain(op, code string, said error) error {
	needed, known := permissions[op]
	if !known || code != "AccessDenied" {
		return said
	}
	return edge.Say(said, "%v: %s is needed", said, needed)
}
