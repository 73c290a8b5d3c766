package s3store

import (
	"context"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

var mux = blobstore.Mux{Scheme: Open}

func TestMain(m *testing.M) {
	storetest.Worker(mux.Open)
	os.Exit(server.Run(m))
}

// bucketURL returns the URL of a new bucket, and sets the credentials for it.
func bucketURL(t *testing.T, prefix string) string {
	t.Helper()
	m := server.SharedMinIO(t)
	m.Setenv(t)
	u, err := url.Parse(m.NewBucket(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = prefix
	return u.String()
}

func open(t *testing.T, rawURL string) *Store {
	t.Helper()
	s, err := mux.Open(context.Background(), rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Store)
}

func TestWholeBucketNeedsNoPrefix(t *testing.T) {
	u := bucketURL(t, "")
	s := open(t, u)
	if _, err := s.Put(t.Context(), "some/prefix/k", []byte("x"), blobstore.IfAbsent()); err != nil {
		t.Fatal(err)
	}
	for attrs, err := range s.List(t.Context(), "", "some/a") {
		if err != nil || attrs.Key != "some/prefix/k" {
			t.Errorf("list: %+v, %v", attrs, err)
		}
	}
	if _, err := open(t, strings.Replace(u, "?", "/some/prefix?", 1)).Stat(t.Context(), "k"); err != nil {
		t.Errorf("stat below the prefix: %v", err)
	}
}

func TestMinIOConforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) blobstore.Store {
		t.Helper()
		u := bucketURL(t, "/some/prefix")
		// Neighbours that a sloppy prefix would let in.
		for _, prefix := range []string{"/some", "/some/prefix-2", "/some/prefix.d"} {
			other, err := url.Parse(u)
			if err != nil {
				t.Fatal(err)
			}
			other.Path = prefix
			if _, err := open(t, other.String()).Put(t.Context(), "neighbour", nil, blobstore.Always); err != nil {
				t.Fatal(err)
			}
		}
		return open(t, u)
	})
}

func TestProcessesExcludeEachOther(t *testing.T) {
	u := bucketURL(t, "/cluster")
	storetest.RunProcesses(t, open(t, u), u, server.SharedMinIO(t).Env()...)
}
