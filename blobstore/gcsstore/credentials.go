package gcsstore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/storage"
	"golang.org/x/sync/singleflight"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

// chain finds Google's default credentials when they are first needed, because
// the search may ask the host's metadata server, and marks what goes wrong.
type chain struct {
	search singleflight.Group
	found  atomic.Pointer[auth.Credentials]
}

// newCredentials returns the credentials of Google's chain.
func newCredentials() *auth.Credentials {
	c := new(chain)
	return auth.NewCredentials(&auth.CredentialsOptions{
		TokenProvider:          c,
		UniverseDomainProvider: auth.CredentialsPropertyFunc(c.universeDomain),
	})
}

// Token implements auth.TokenProvider.
func (c *chain) Token(ctx context.Context) (*auth.Token, error) {
	found, err := c.credentials(ctx)
	if err != nil {
		return nil, err
	}
	token, err := found.Token(ctx)
	if err != nil {
		return nil, &credentialsError{err}
	}
	return token, nil
}

func (c *chain) universeDomain(ctx context.Context) (string, error) {
	found, err := c.credentials(ctx)
	if err != nil {
		return "", err
	}
	return found.UniverseDomain(ctx)
}

// credentials returns what the chain has found. The search heeds no context,
// so the caller does not wait for it longer than it wants to.
func (c *chain) credentials(ctx context.Context) (*auth.Credentials, error) {
	if found := c.found.Load(); found != nil {
		return found, nil
	}
	result := c.search.DoChan("", func() (any, error) {
		found, err := credentials.DetectDefault(&credentials.DetectOptions{
			Scopes: []string{storage.ScopeFullControl}, // less does not let the bucket's rules be set
		})
		if err == nil {
			c.found.Store(found)
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
