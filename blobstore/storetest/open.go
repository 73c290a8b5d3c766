package storetest

import (
	"context"
	"errors"
	"net/url"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
)

// Open opens a provider's store, whose type is S.
func Open[S blobstore.Store](t testing.TB, mux blobstore.Mux, rawURL string) S {
	t.Helper()
	s, err := mux.Open(context.Background(), rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return s.(S)
}

// WithPath returns a URL with another path.
func WithPath(t *testing.T, rawURL, path string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = path
	return u.String()
}

// AmongNeighbours returns the store below some/prefix of an empty bucket, in
// which lie others that a sloppy prefix would let in. at opens the bucket's
// store below a prefix.
func AmongNeighbours(t *testing.T, at func(prefix string) blobstore.Store) blobstore.Store {
	t.Helper()
	for _, prefix := range []string{"some", "some/prefix-2", "some/prefix.d"} {
		put(t, at(prefix), "neighbour", "")
	}
	return at("some/prefix")
}

// RunWholeBucket checks that a store may be a whole bucket, empty here. at is
// as in AmongNeighbours; its prefix may be "".
func RunWholeBucket(t *testing.T, at func(prefix string) blobstore.Store) {
	s := at("")
	put(t, s, "some/prefix/k", "x")
	wantKeys(t, "list", list(t, s, "", "some/a"), []string{"some/prefix/k"})
	if _, err := at("some/prefix").Stat(t.Context(), "k"); err != nil {
		t.Errorf("stat below the prefix: %v", err)
	}
}

// WantKind checks that an error's own kind is this one, and not only a kind
// within its cause.
func WantKind(t *testing.T, what string, err, kind error) {
	t.Helper()
	var known *blobstore.Error
	if !errors.As(err, &known) || !errors.Is(known.Kind, kind) {
		t.Errorf("%s: error %v, want one of the kind: %v", what, err, kind)
	}
}
