package azstore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

// Scheme is the URL scheme that Open serves.
const Scheme = "azblob"

var (
	accountName   = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	containerName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
)

// Open opens the container that a URL names; see the package's doc for its
// parameters. It is a blobstore.Opener. It sends no request: that the
// container is missing or closed, and that there are no credentials, shows at
// first use.
func Open(_ context.Context, u *url.URL) (blobstore.Store, error) {
	prefix, err := containerPrefix(u)
	if err != nil {
		return nil, err
	}
	found := environment()
	if err := found.apply(u.Query()); err != nil {
		return nil, err
	}
	client, err := found.client(u.Host)
	if err != nil {
		return nil, fmt.Errorf("configure Azure client: %w", err)
	}
	return &Store{container: client, prefix: prefix}, nil
}

// containerPrefix checks the URL's container and returns what all keys begin
// with.
func containerPrefix(u *url.URL) (string, error) {
	if u.Opaque != "" || u.Host == "" || u.Port() != "" {
		return "", errors.New("the URL names no container; want azblob://container/prefix")
	}
	if len(u.Host) < 3 || len(u.Host) > 63 || !containerName.MatchString(u.Host) {
		return "", fmt.Errorf("the container's name %.70q is none of 3 to 63 small letters, digits and single dashes", u.Host)
	}
	return edge.Prefix(u.Path)
}

// apply adds what a URL's query says.
func (a *access) apply(query url.Values) error {
	for name := range query {
		if name != "account" && name != "endpoint" {
			return fmt.Errorf("the parameter %q is unknown", name)
		}
	}
	if a.usesConnection() && len(query) > 0 {
		return fmt.Errorf("%s names account and endpoint itself: leave them out of the URL", connectionEnv)
	}
	if account := query.Get("account"); account != "" {
		a.account = account
	}
	if a.account != "" && !accountName.MatchString(a.account) {
		return fmt.Errorf("the account's name %.30q is none of 3 to 24 small letters and digits", a.account)
	}
	if endpoint := query.Get("endpoint"); endpoint != "" {
		e, err := url.Parse(endpoint)
		if err != nil || e.Scheme != "http" && e.Scheme != "https" || e.Host == "" || e.User != nil || e.RawQuery != "" || e.Fragment != "" {
			return errors.New("the parameter endpoint is no URL like https://host:port or http://host:port/account")
		}
		a.endpoint = strings.TrimSuffix(endpoint, "/")
	}
	return nil
}
