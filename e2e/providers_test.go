package e2e

import (
	"net/url"
	"testing"

	"github.com/understudy-ha/understudy/e2e/server"
)

// provider is a kind of store, and a real one of it.
type provider struct {
	name string
	// open returns the URL of an empty bucket, and the variables with its
	// credentials.
	open func(t *testing.T) (bucket string, env []string)
}

// providers are the stores that Understudy supports.
var providers = []provider{
	{"file", func(t *testing.T) (string, []string) { return "file://" + t.TempDir(), nil }},
	{"s3", onServer(server.SharedMinIO)},
	{"minio", func(t *testing.T) (string, []string) {
		m := server.SharedMinIO(t)
		u, err := url.Parse(m.NewBucket(t))
		if err != nil {
			t.Fatal(err)
		}
		return "minio://" + m.Address + "/" + u.Host + "/some/prefix?tls=false", m.Env()
	}},
	{"gs", onServer(server.SharedGCS)},
	{"azblob", onServer(server.SharedAzurite)},
}

// storeServer is a server of buckets.
type storeServer interface {
	NewBucket(tb testing.TB) string
	Env() []string
}

// onServer opens buckets on a server that a package's tests share, below a
// prefix, as people have it.
func onServer[S storeServer](shared func(testing.TB) S) func(*testing.T) (string, []string) {
	return func(t *testing.T) (string, []string) {
		s := shared(t)
		u, err := url.Parse(s.NewBucket(t))
		if err != nil {
			t.Fatal(err)
		}
		return u.JoinPath("some", "prefix").String(), s.Env()
	}
}
