package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/client"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/requests"
	"github.com/understudy-ha/understudy/ha/webhook"
)

// bucketErrors are what makes bucket or key unusable.
var bucketErrors = []error{
	control.ErrBucket, control.ErrUnverified,
	seal.ErrKey, seal.ErrUnknownKey, seal.ErrSignature, seal.ErrScope, seal.ErrSealed,
	backup.ErrTampered, backup.ErrFormat,
	blobstore.ErrDenied, blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome,
	context.DeadlineExceeded, context.Canceled,
}

// statusOf is the HTTP status of an agent's error.
func statusOf(err error) int {
	if errors.Is(err, account.ErrNoUser) {
		return http.StatusNotFound
	}
	if errors.Is(err, ha.ErrInvalid) {
		return http.StatusUnprocessableEntity
	}
	for _, kind := range bucketErrors {
		if errors.Is(err, kind) {
			return http.StatusServiceUnavailable
		}
	}
	if errors.Is(err, control.ErrNoBackup) || errors.Is(err, webhook.ErrNoWebhook) || errors.Is(err, blobstore.ErrNotFound) {
		return http.StatusNotFound
	}
	return http.StatusInternalServerError
}

// problem is a problem document with the error model of huma.
func problem(status int, detail string) *huma.ErrorModel {
	return &huma.ErrorModel{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

// problemOf turns an agent's error into the answer. One that nobody expected
// is logged too, because whoever asked may not be the one to mend it.
func (a *api) problemOf(ctx context.Context, err error) error {
	var known huma.StatusError
	if errors.As(err, &known) {
		return err
	}
	if errors.Is(err, account.ErrBusy) {
		return tooMany(time.Second)
	}
	var refusal *ha.Refusal
	if errors.As(err, &refusal) {
		return problem(http.StatusConflict, refusal.Reason)
	}
	status := statusOf(err)
	goes := a.isClosing() && (status == http.StatusInternalServerError || errors.Is(err, context.Canceled))
	if errors.Is(err, requests.ErrStopped) || goes {
		p := problem(http.StatusServiceUnavailable, err.Error())
		p.Type = client.TypeStopping
		return p
	}
	if status == http.StatusInternalServerError {
		a.log.ErrorContext(ctx, "request failed", slog.Any("error", err))
	}
	return problem(status, err.Error())
}

func (a *api) isClosing() bool {
	select {
	case <-a.closing:
		return true
	default:
		return false
	}
}

// completeProblem is a huma.Transformer that makes huma's own problems like
// this package's: with a type, and without an echo of what was sent.
func completeProblem(_ huma.Context, _ string, v any) (any, error) {
	p, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	if p.Type == "" {
		p.Type = "about:blank"
	}
	for _, detail := range p.Errors {
		if detail != nil {
			detail.Value = nil
		}
	}
	return p, nil
}
