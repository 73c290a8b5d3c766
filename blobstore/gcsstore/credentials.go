package gcsstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"golang.org/x/sync/singleflight"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

// fullControl is the scope of requests: less does not let the bucket's rules be set.
const fullControl = "https://www.googleapis.com/auth/devstorage.full_control"

// authorized gives requests the token of Google's chain of credentials. It looks for
// them when they are first needed, because the search may ask the host's metadata
// server, and marks what goes wrong.
type authorized struct {
	next   http.RoundTripper
	search singleflight.Group
	found  atomic.Pointer[auth.Credentials]
}

// RoundTrip implements http.RoundTripper.
func (a *authorized) RoundTrip(req *http.Request) (*http.Response, error) {
	token, err := a.token(req.Context())
	if err != nil {
		if req.Body != nil {
			err = errors.Join(err, req.Body.Close())
		}
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", cmp.Or(token.Type, "Bearer")+" "+token.Value)
	return a.next.RoundTrip(req)
}

func (a *authorized) token(ctx context.Context) (*auth.Token, error) {
	found, err := a.credentials(ctx)
	if err != nil {
		return nil, err
	}
	token, err := found.Token(ctx)
	if err != nil {
		return nil, &credentialsError{err}
	}
	return token, nil
}

// credentials returns what the chain has found. The search heeds no context,
// so the caller does not wait for it longer than it wants to.
func (a *authorized) credentials(ctx context.Context) (*auth.Credentials, error) {
	if found := a.found.Load(); found != nil {
		return found, nil
	}
	result := a.search.DoChan("", func() (any, error) {
		found, err := credentials.DetectDefault(&credentials.DetectOptions{
			Scopes: []string{fullControl},
		})
		if err == nil {
			a.found.Store(found)
		}
		return found, err
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return nil, &credentialsError{r.Err}
		}
		return r.Val.(*auth.Credentials), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// credentialsError says that no credentials could be found or renewed.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string {
	return fmt.Sprintf("get Google credentials (set GOOGLE_APPLICATION_CREDENTIALS, or give the host a service account): %v", e.err)
}
func (e *credentialsError) Unwrap() error { return e.err }

// kind tells credentials that are no good from an issuer that does not answer.
func (e *credentialsError) kind() error {
	var answered *auth.Error
	var unanswered *url.Error
	switch {
	case errors.As(e.err, &answered) && answered.Response != nil:
		if kind := edge.Kind(answered.Response.StatusCode); errors.Is(kind, blobstore.ErrUnavailable) {
			return kind
		}
	case errors.As(e.err, &unanswered):
		return blobstore.ErrUnavailable
	}
	return blobstore.ErrDenied
}
