package azstore

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

// noEnvironment takes away what this process's environment says about Azure.
func noEnvironment(t *testing.T) {
	t.Helper()
	for _, name := range []string{accountEnv, keyEnv, signatureEnv, connectionEnv} {
		t.Setenv(name, "")
	}
}

func TestOpenRefusesBadURLs(t *testing.T) {
	noEnvironment(t)
	t.Setenv(accountEnv, "account")
	tests := map[string]string{ // URL: part of the error
		"azblob:///prefix":                               "names no container",
		"azblob:bucket":                                  "names no container",
		"azblob://bucket:9000/prefix":                    "names no container",
		"azblob://Bucket/prefix":                         "small letters",
		"azblob://a--b/prefix":                           "small letters",
		"azblob://ab/prefix":                             "small letters",
		"azblob://bucket/a//b":                           "prefix",
		"azblob://bucket/../b":                           "prefix",
		"azblob://bucket/" + strings.Repeat("p", 201):    "prefix",
		"azblob://bucket?colour=red":                     "colour",
		"azblob://bucket?account=evil.example/":          "account",
		"azblob://bucket?endpoint=localhost":             "endpoint",
		"azblob://bucket?endpoint=http://u:p@h":          "endpoint",
		"azblob://bucket?endpoint=https://h/a%3Fsv%3D1":  "endpoint",
		"azblob://bucket?account_key=c2VjcmV0":           "secret",
		"azblob://bucket?sas_token=x":                    "secret",
		"azblob://bucket?sv=2026-01-01&sig=c2VjcmV0":     "secret",
		"azblob://account:c2VjcmV0@bucket/":              "password",
		"azblob://bucket?endpoint=http://127.0.0.1:1/ac": "plain http",
	}
	for rawURL, want := range tests {
		if _, err := mux.Open(t.Context(), rawURL); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open %.50s: error %v, want one about %q", rawURL, err, want)
		}
	}
}

func TestOpenRefusesHalfAnEnvironment(t *testing.T) {
	tests := []struct {
		env       map[string]string
		url, want string
	}{
		{nil, "azblob://bucket", accountEnv},
		{map[string]string{keyEnv: "c2VjcmV0"}, "azblob://bucket?endpoint=https://store.example", accountEnv},
		{map[string]string{accountEnv: "account", keyEnv: "no base64!"}, "azblob://bucket", "base64"},
		{map[string]string{accountEnv: "Bad-Account", keyEnv: "c2VjcmV0"}, "azblob://bucket", "small letters"},
		{map[string]string{connectionEnv: "AccountName=account;AccountKey=c2VjcmV0"}, "azblob://bucket?account=other", connectionEnv},
		{map[string]string{connectionEnv: "AccountName=account"}, "azblob://bucket", "AccountKey"},
	}
	for _, test := range tests {
		noEnvironment(t)
		for name, value := range test.env {
			t.Setenv(name, value)
		}
		_, err := mux.Open(t.Context(), test.url)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("open %s with %v: error %v, want one about %q", test.url, test.env, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("the error tells the key: %v", err)
		}
	}
}

func TestOpenAppliesItsParameters(t *testing.T) {
	const connection = "DefaultEndpointsProtocol=https;AccountName=third;AccountKey=c2VjcmV0;EndpointSuffix=core.example"
	key := map[string]string{accountEnv: "account", keyEnv: "c2VjcmV0"}
	tests := []struct {
		env                   map[string]string
		url, location, prefix string
	}{
		{key, "azblob://bucket", "https://account.blob.core.windows.net/bucket", ""},
		{key, "azblob://bucket/", "https://account.blob.core.windows.net/bucket", ""},
		{key, "azblob://bucket/a/b/?account=other", "https://other.blob.core.windows.net/bucket", "a/b/"},
		{key, "azblob://bucket/a?endpoint=http://localhost:10000/account/", "http://localhost:10000/account/bucket", "a/"},
		{map[string]string{keyEnv: "c2VjcmV0"}, "azblob://bucket?account=other", "https://other.blob.core.windows.net/bucket", ""},
		{map[string]string{signatureEnv: "?sv=1&sig=x"}, "azblob://bucket?account=other", "https://other.blob.core.windows.net/bucket?sv=1&sig=x", ""},
		{map[string]string{connectionEnv: connection}, "azblob://bucket/a", "https://third.blob.core.example/bucket", "a/"},
		{map[string]string{connectionEnv: connection, accountEnv: "account", keyEnv: "c2VjcmV0"}, "azblob://bucket", "https://account.blob.core.windows.net/bucket", ""},
		{nil, "azblob://bucket?account=other", "https://other.blob.core.windows.net/bucket", ""},
	}
	for _, test := range tests {
		noEnvironment(t)
		for name, value := range test.env {
			t.Setenv(name, value)
		}
		if s := open(t, test.url); s.container.URL() != test.location || s.prefix != test.prefix {
			t.Errorf("%s: container %s, prefix %q; want %s, %q", test.url, s.container.URL(), s.prefix, test.location, test.prefix)
		}
	}
}

func TestCredentialsOfTheEnvironmentServe(t *testing.T) {
	a := server.SharedAzurite(t)
	u := bucketURL(t, "/cluster")
	if _, err := open(t, u).Put(t.Context(), "k", []byte("x"), blobstore.IfAbsent()); err != nil {
		t.Fatal(err)
	}
	bare, _, _ := strings.Cut(u, "?")
	signed, err := a.Client(t).GetSASURL(sas.AccountResourceTypes{Container: true, Object: true},
		sas.AccountPermissions{Read: true, Write: true, Create: true, Delete: true, List: true}, time.Now().Add(time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, signature, _ := strings.Cut(signed, "?")
	tests := []struct{ name, value, url string }{
		{signatureEnv, signature, u},
		{signatureEnv, "?" + signature, u},
		{connectionEnv, "AccountName=" + a.Account + ";AccountKey=" + a.Key + ";BlobEndpoint=" + a.Endpoint(), bare},
		{connectionEnv, "BlobEndpoint=" + a.Endpoint() + ";SharedAccessSignature=" + signature, bare},
	}
	for _, test := range tests {
		noEnvironment(t)
		t.Setenv(test.name, test.value)
		s := open(t, test.url)
		if body, _, err := blobstore.ReadAll(t.Context(), s, "k", 10); err != nil || string(body) != "x" {
			t.Errorf("read with %s: %q, %v", test.name, body, err)
		}
		_, err := s.Put(t.Context(), "k", nil, blobstore.IfAbsent())
		storetest.WantKind(t, "create with "+test.name, err, blobstore.ErrPrecondition)
		var listed []string
		for attrs, err := range s.List(t.Context(), "", "a") {
			if err != nil {
				t.Fatalf("list with %s: %v", test.name, err)
			}
			listed = append(listed, attrs.Key)
		}
		if !slices.Equal(listed, []string{"k"}) {
			t.Errorf("listed with %s: %q", test.name, listed)
		}
	}
}

func TestSignatureIsInNoError(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(refusal(403, "AuthenticationFailed", "no")))
	noEnvironment(t)
	t.Setenv(signatureEnv, "sv=1&sig=c2VjcmV0")
	s := open(t, "azblob://bucket?endpoint="+url.QueryEscape(srv.URL))
	_, refused := s.Stat(t.Context(), "k")
	srv.Close()
	_, gone := s.Put(t.Context(), "k", nil, blobstore.Always)
	for _, err := range []error{refused, gone} {
		if err == nil || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("error %v, want one without the signature", err)
		}
	}
}

func TestNoCredentialsMeansDenied(t *testing.T) {
	noEnvironment(t)
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "WorkloadIdentityCredential") // the rest of the chain asks the host
	for _, name := range []string{"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"} {
		t.Setenv(name, "")
	}
	s := open(t, "azblob://bucket?endpoint=https://127.0.0.1:1")
	_, err := s.Put(t.Context(), "k", nil, blobstore.IfAbsent())
	storetest.WantKind(t, "put", err, blobstore.ErrDenied)
	if err == nil || !strings.Contains(err.Error(), accountEnv) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q, want one line that says what to set", err)
	}
	_, err = s.Stat(t.Context(), "k")
	storetest.WantKind(t, "stat", err, blobstore.ErrDenied)
}

// failing is a credential that cannot be had.
type failing struct{ err error }

func (f failing) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{}, f.err
}

func TestCredentialsThatFailHaveTheirKind(t *testing.T) {
	answered := func(status int) error {
		return &azidentity.AuthenticationFailedError{RawResponse: &http.Response{StatusCode: status, Body: http.NoBody}}
	}
	tests := []struct {
		err  error
		want error
	}{
		{errors.New("none are there"), blobstore.ErrDenied},
		{answered(401), blobstore.ErrDenied},
		{answered(503), blobstore.ErrUnavailable},
		{answered(429), blobstore.ErrUnavailable},
		{&azidentity.AuthenticationFailedError{}, blobstore.ErrUnavailable}, // no answer
	}
	for _, test := range tests {
		_, err := (&credentials{failing{test.err}}).GetToken(t.Context(), policy.TokenRequestOptions{})
		storetest.WantKind(t, "get", translator.Error("get", "k", err), test.want)
		storetest.WantKind(t, "create", translator.Conditional("k", blobstore.IfAbsent(), false, err), test.want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := (&credentials{failing{&azidentity.AuthenticationFailedError{}}}).GetToken(ctx, policy.TokenRequestOptions{})
	if !edge.GivenUp(err) {
		t.Errorf("error %v does not tell that it was cancelled", err)
	}
}
