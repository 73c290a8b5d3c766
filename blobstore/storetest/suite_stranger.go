package storetest

import (
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
)

// RunStranger checks that a store names an object that no key names. s is
// empty; plant makes an object with a name below its prefix, behind its back.
func RunStranger(t *testing.T, s blobstore.Store, plant func(t *testing.T, name string)) {
	t.Helper()
	odd, ok := s.(blobstore.Strangers)
	if !ok {
		t.Fatalf("%T cannot name strangers", s)
	}
	want := func(want string) {
		t.Helper()
		if got, err := odd.Stranger(t.Context()); err != nil || got != want {
			t.Errorf("stranger %q, %v; want %q", got, err, want)
		}
	}
	want("")
	put(t, s, "backups/b", "x")
	want("")
	const name = "photos/IMG 1.jpg"
	plant(t, name)
	want(name)
	wantKeys(t, "list", list(t, s, "", ""), []string{"backups/b"})
}
