package blobstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Opener opens the store that a URL names. It reads the provider's own
// options from the URL's query and refuses those that it does not know.
type Opener func(ctx context.Context, u *url.URL) (Store, error)

// Mux opens stores by URL: it maps a scheme ("s3", "file", …) to the provider
// behind it. Only the program's main package fills one.
type Mux map[string]Opener

// Open opens the store that rawURL names. An unknown scheme and a URL that
// carries a secret are errors; the errors never quote the URL itself, which
// may hold one.
func (m Mux) Open(ctx context.Context, rawURL string) (Store, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("parse bucket URL: it is malformed") // the cause would quote a part of it
	}
	if u.Scheme == "" {
		return nil, fmt.Errorf("open bucket: the URL has no scheme; want one of %s", m.schemes())
	}
	open, ok := m[u.Scheme]
	if !ok {
		return nil, fmt.Errorf("open bucket: no provider for scheme %q; want one of %s", u.Scheme, m.schemes())
	}
	if err := refuseSecrets(u); err != nil {
		return nil, fmt.Errorf("open %s bucket: %w", u.Scheme, err)
	}
	s, err := open(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("open %s bucket: %w", u.Scheme, err)
	}
	return s, nil
}

func (m Mux) schemes() string {
	var names []string
	for _, scheme := range slices.Sorted(maps.Keys(m)) {
		names = append(names, scheme+"://")
	}
	return strings.Join(names, ", ")
}

// secretWords mark a query parameter that would carry a credential.
var secretWords = []string{"secret", "token", "password", "passwd", "credential", "signature", "access_key", "accesskey", "account_key", "sig"}

// refuseSecrets keeps credentials out of URLs, because URLs end up in process
// lists, logs and status pages.
func refuseSecrets(u *url.URL) error {
	const hint = "credentials come from the provider's own environment variables and files"
	if u.User != nil {
		return fmt.Errorf("the URL holds a user name or password; %s", hint)
	}
	if u.Fragment != "" {
		return errors.New("the URL has a fragment (#…)")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("the URL's query cannot be parsed")
	}
	for name := range query {
		for _, word := range secretWords {
			if strings.Contains(strings.ToLower(name), word) {
				return fmt.Errorf("the URL's parameter %q holds a secret; %s", name, hint)
			}
		}
	}
	return nil
}
