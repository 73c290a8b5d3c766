package s3store

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// credentials marks the errors of the SDK's chain, which are otherwise hard to
// tell from a store that cannot be reached.
type credentials struct {
	next aws.CredentialsProvider
}

// credentialsError says that no credentials could be found or renewed.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string {
	return fmt.Sprintf("get S3 credentials (set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the host a role): %v", e.err)
}
func (e *credentialsError) Unwrap() error { return e.err }

// Retrieve implements aws.CredentialsProvider.
func (c *credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	found, err := c.next.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, &credentialsError{err}
	}
	return found, nil
}

// IsCredentialsProvider lets the SDK look through to the provider inside,
// because it treats anonymous access apart.
func (c *credentials) IsCredentialsProvider(target aws.CredentialsProvider) bool {
	return aws.IsCredentialsProvider(c.next, target)
}
