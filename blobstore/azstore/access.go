package azstore

import (
	"errors"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

const (
	accountEnv    = "AZURE_STORAGE_ACCOUNT"
	keyEnv        = "AZURE_STORAGE_KEY"
	signatureEnv  = "AZURE_STORAGE_SAS_TOKEN"
	connectionEnv = "AZURE_STORAGE_CONNECTION_STRING"
)

// access is the way to a storage account: where it is, and the credentials
// that the environment names. Any part may be empty.
type access struct {
	account, endpoint string
	// At most one of these is used, the first that is there.
	key, signature, connection string
}

// environment reads the variables that Azure's tools read, and that its SDK
// for Go leaves to its callers.
func environment() access {
	return access{
		account:    os.Getenv(accountEnv),    //nolint:forbidigo // Azure's own variable
		key:        os.Getenv(keyEnv),        //nolint:forbidigo // Azure's own variable
		signature:  os.Getenv(signatureEnv),  //nolint:forbidigo // Azure's own variable
		connection: os.Getenv(connectionEnv), //nolint:forbidigo // Azure's own variable
	}
}

func (a access) usesConnection() bool {
	return a.connection != "" && a.key == "" && a.signature == ""
}

// client returns a client for a container.
func (a access) client(name string) (*container.Client, error) {
	options := &container.ClientOptions{ClientOptions: policy.ClientOptions{
		Retry:           policy.RetryOptions{MaxRetries: -1},
		Transport:       edge.Client(),
		PerCallPolicies: []policy.Policy{startFrom{}},
	}}
	if a.usesConnection() {
		return container.NewClientFromConnectionString(a.connection, name, options)
	}
	service, err := a.service()
	if err != nil {
		return nil, err
	}
	location := service + "/" + name
	switch {
	case a.key != "" && a.account == "":
		return nil, errors.New(keyEnv + " is the key of no account: set " + accountEnv + " or the URL's parameter account")
	case a.key != "":
		credential, err := container.NewSharedKeyCredential(a.account, a.key)
		if err != nil {
			return nil, err
		}
		return container.NewClientWithSharedKeyCredential(location, credential, options)
	case a.signature != "":
		return container.NewClientWithNoCredential(location+"?"+strings.TrimPrefix(a.signature, "?"), options)
	case strings.HasPrefix(service, "http:"):
		return nil, errors.New("there is no " + keyEnv + ", and what Azure's other credentials give is not sent over plain http")
	}
	// It asks for its tokens through a client of its own, which is not watched.
	chain, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, err
	}
	return container.NewClient(location, &credentials{chain}, options)
}

// service returns the URL of the account's blob service.
func (a access) service() (string, error) {
	switch {
	case a.endpoint != "":
		return a.endpoint, nil
	case a.account != "":
		return "https://" + a.account + ".blob.core.windows.net", nil
	}
	return "", errors.New("no storage account is named: set " + accountEnv + " or the URL's parameter account")
}
