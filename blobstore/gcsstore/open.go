package gcsstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

// Scheme is the URL scheme that Open serves.
const Scheme = "gs"

const (
	googleEndpoint = "https://storage.googleapis.com"
	emulatorEnv    = "STORAGE_EMULATOR_HOST"
)

// Open opens the bucket that a URL names; see the package's doc for its
// parameters. It is a blobstore.Opener. It sends no request: that the bucket
// is missing or closed, and that there are no credentials, shows at first use.
func Open(_ context.Context, u *url.URL) (blobstore.Store, error) {
	prefix, err := bucketPrefix(u)
	if err != nil {
		return nil, err
	}
	options, err := parseOptions(u.Query())
	if err != nil {
		return nil, err
	}
	return &Store{api: api{web: options.client(), endpoint: options.endpoint, bucket: u.Host}, prefix: prefix}, nil
}

// bucketPrefix checks the URL's bucket and returns what all keys begin with.
func bucketPrefix(u *url.URL) (string, error) {
	if u.Opaque != "" || u.Host == "" || u.Port() != "" {
		return "", errors.New("the URL names no bucket; want gs://bucket/prefix")
	}
	return edge.Prefix(u.Path)
}

// options are what a URL and the environment say about the way to the bucket.
type options struct {
	endpoint  string // scheme and host, nothing more
	anonymous bool
}

func parseOptions(query url.Values) (options, error) {
	for name := range query {
		if name != "endpoint" && name != "anonymous" {
			return options{}, fmt.Errorf("the parameter %q is unknown", name)
		}
	}
	o := options{endpoint: googleEndpoint}
	if other := query.Get("endpoint"); other != "" {
		if !isEndpoint(other) {
			return options{}, errors.New("the parameter endpoint is no URL like https://host:port")
		}
		o = options{strings.TrimSuffix(other, "/"), true}
	} else if host := os.Getenv(emulatorEnv); host != "" { //nolint:forbidigo // Google's own variable, like those of its credentials
		if !strings.Contains(host, "://") {
			host = "http://" + host
		}
		if !isEndpoint(host) {
			return options{}, fmt.Errorf("%s is neither host:port nor a URL like http://host:port", emulatorEnv)
		}
		o = options{strings.TrimSuffix(host, "/"), true}
	}
	if value := query.Get("anonymous"); value != "" {
		var err error
		if o.anonymous, err = strconv.ParseBool(value); err != nil {
			return options{}, errors.New("the parameter anonymous is neither true nor false")
		}
	}
	return o, nil
}

// isEndpoint reports whether text is the URL of a host and nothing more.
func isEndpoint(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" &&
		u.User == nil && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == ""
}

// client returns the HTTP client for all requests to the store.
func (o options) client() *http.Client {
	client := edge.Client()
	if !o.anonymous {
		client.Transport = &authorized{next: client.Transport}
	}
	return client
}
