package miniostore

import (
	"errors"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// roleTimeout is how long the host's role may take to answer; off a cloud
// nobody does.
const roleTimeout = 5 * time.Second

// errNoCredentials says that nothing gave credentials. The SDK itself would go
// on without any.
var errNoCredentials = errors.New("get credentials: found none " +
	"(set MINIO_ACCESS_KEY and MINIO_SECRET_KEY, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)")

// chain returns the SDK's sources of credentials in their order.
func chain() *credentials.Credentials {
	return credentials.New(&needed{credentials.Chain{Providers: []credentials.Provider{
		&credentials.EnvMinio{},
		&credentials.EnvAWS{},
		&credentials.FileMinioClient{},
		&credentials.FileAWSCredentials{},
		&credentials.IAM{Client: &http.Client{Timeout: roleTimeout}},
	}}})
}

// needed is a chain that must find credentials.
type needed struct{ credentials.Chain }

// RetrieveWithCredContext implements credentials.Provider.
func (n *needed) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	return found(n.Chain.RetrieveWithCredContext(cc))
}

// Retrieve implements credentials.Provider.
func (n *needed) Retrieve() (credentials.Value, error) { return found(n.Chain.Retrieve()) }

func found(value credentials.Value, err error) (credentials.Value, error) {
	if err == nil && value.AccessKeyID == "" {
		err = errNoCredentials
	}
	return value, err
}
