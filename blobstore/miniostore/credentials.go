package miniostore

import (
	"errors"
	"net/http"
	"strings"
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

// chain returns the SDK's sources of credentials in their order. What the
// client mc keeps for itself comes last: its configuration is there wherever mc
// was run once, with keys that are none.
func chain() *credentials.Credentials {
	return credentials.New(&needed{credentials.Chain{Providers: []credentials.Provider{
		&credentials.EnvMinio{},
		&credentials.EnvAWS{},
		&credentials.FileAWSCredentials{},
		&credentials.IAM{Client: &http.Client{Timeout: roleTimeout}},
		&clientFile{},
	}}})
}

// clientFile is the configuration of the client mc, without the placeholders
// that mc puts there.
type clientFile struct{ credentials.FileMinioClient }

// placeholder is how mc's placeholders begin.
const placeholder = "YOUR-"

// RetrieveWithCredContext implements credentials.Provider.
func (c *clientFile) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	return usable(c.FileMinioClient.RetrieveWithCredContext(cc))
}

// Retrieve implements credentials.Provider.
func (c *clientFile) Retrieve() (credentials.Value, error) {
	return usable(c.FileMinioClient.Retrieve())
}

func usable(value credentials.Value, err error) (credentials.Value, error) {
	if err == nil && strings.HasPrefix(value.AccessKeyID, placeholder) {
		return credentials.Value{}, errNoCredentials
	}
	return value, err
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
