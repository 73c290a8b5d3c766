package azstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

// credentials marks the errors of the SDK's chain, which are otherwise hard to
// tell from a store that cannot be reached.
type credentials struct {
	next azcore.TokenCredential
}

// GetToken implements azcore.TokenCredential.
func (c *credentials) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := c.next.GetToken(ctx, options)
	if err == nil {
		return token, nil
	}
	if ctx.Err() != nil { // the chain's errors do not lead to this one
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return azcore.AccessToken{}, &credentialsError{err}
}

// credentialsError says that no credentials could be found or renewed.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string {
	return fmt.Sprintf("get Azure credentials (set %s and %s, or give the host an identity): %v", accountEnv, keyEnv, e.err)
}
func (e *credentialsError) Unwrap() error { return e.err }

// kind tells those who answered no from those who did not answer.
func (e *credentialsError) kind() error {
	var failed *azidentity.AuthenticationFailedError
	switch {
	case !errors.As(e.err, &failed):
		return blobstore.ErrDenied // there are none
	case failed.RawResponse == nil:
		return blobstore.ErrUnavailable
	case errors.Is(edge.Kind(failed.RawResponse.StatusCode), blobstore.ErrUnavailable):
		return blobstore.ErrUnavailable
	}
	return blobstore.ErrDenied
}
