package gcsstore

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

var mux = blobstore.Mux{Scheme: Open}

func open(t *testing.T, rawURL string) *Store {
	t.Helper()
	return storetest.Open[*Store](t, mux, rawURL)
}

func TestMain(m *testing.M) {
	storetest.Worker(mux.Open)
	os.Exit(server.Run(m))
}

// bucketURL returns the URL of a new bucket.
func bucketURL(t *testing.T, prefix string) string {
	t.Helper()
	return storetest.WithPath(t, server.SharedGCS(t).NewBucket(t), prefix)
}

func TestFakeGCSConforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) blobstore.Store {
		t.Helper()
		u := bucketURL(t, "")
		return storetest.AmongNeighbours(t, func(prefix string) blobstore.Store { return open(t, storetest.WithPath(t, u, "/"+prefix)) })
	})
}

func TestProcessesExcludeEachOther(t *testing.T) {
	for _, prefix := range []string{"", "/cluster"} {
		u := bucketURL(t, prefix)
		storetest.RunProcesses(t, open(t, u), u, server.SharedGCS(t).Env()...)
	}
}

func TestFailingNetworkIsNoticed(t *testing.T) {
	endpoint := "http://" + server.SharedGCS(t).Address
	storetest.RunNetwork(t, endpoint, func(t *testing.T) storetest.Dial {
		t.Helper()
		bucket, _, _ := strings.Cut(bucketURL(t, "/cluster"), "?")
		return func(endpoint string) blobstore.Store {
			return open(t, bucket+"?endpoint="+url.QueryEscape(endpoint))
		}
	})
}

func TestVersionedBucketHidesWhatWasDeleted(t *testing.T) {
	s := open(t, storetest.WithPath(t, server.VersionedGCS(t).NewBucket(t), "/cluster"))
	ctx := t.Context()
	first, err := s.Put(ctx, "k", []byte("one"), blobstore.IfAbsent())
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Put(ctx, "k", []byte("two"), blobstore.IfMatch(first.Token))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, "k"); err != nil {
		t.Fatal(err)
	}
	_, err = s.Stat(ctx, "k")
	storetest.WantKind(t, "stat", err, blobstore.ErrNotFound)
	_, _, err = s.Get(ctx, "k", blobstore.GetOptions{IfChanged: second.Token})
	storetest.WantKind(t, "get", err, blobstore.ErrNotFound)
	for _, old := range []blobstore.Token{first.Token, second.Token} {
		_, err = s.Put(ctx, "k", []byte("three"), blobstore.IfMatch(old))
		storetest.WantKind(t, "swap", err, blobstore.ErrPrecondition)
	}
	for attrs, err := range s.List(ctx, "", "") {
		t.Errorf("list: %+v, %v; want nothing", attrs, err)
	}
	third, err := s.Put(ctx, "k", []byte("three"), blobstore.IfAbsent())
	if err != nil || third.Token == first.Token || third.Token == second.Token {
		t.Errorf("create again: %+v, %v", third, err)
	}
}

func TestBytesComeAsTheyAreStored(t *testing.T) {
	u := bucketURL(t, "")
	s := open(t, u)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(bytes.Repeat([]byte("compresses well "), 1000)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	w := server.SharedGCS(t).Client(t).Bucket(s.api.bucket).Object("zipped").NewWriter(t.Context())
	w.ContentEncoding, w.ContentType = "gzip", "text/plain"
	if _, err := w.Write(zipped.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	body, attrs, err := blobstore.ReadAll(t.Context(), s, "zipped", 1<<20)
	if err != nil || !bytes.Equal(body, zipped.Bytes()) || attrs.Size != int64(zipped.Len()) {
		t.Errorf("read %d bytes, size %d, %v; want the %d that are stored", len(body), attrs.Size, err, zipped.Len())
	}
	part, _, err := s.Get(t.Context(), "zipped", blobstore.GetOptions{Offset: 3, Length: 7})
	if err != nil {
		t.Fatal(err)
	}
	defer part.Close()
	if got, err := io.ReadAll(part); err != nil || !bytes.Equal(got, zipped.Bytes()[3:10]) {
		t.Errorf("read part %x, %v; want %x", got, err, zipped.Bytes()[3:10])
	}
}

func TestEmulatorOfTheEnvironmentIsUsed(t *testing.T) {
	g := server.SharedGCS(t)
	u := storetest.WithPath(t, g.NewBucket(t), "/cluster")
	if _, err := open(t, u).Put(t.Context(), "k", []byte("x"), blobstore.IfAbsent()); err != nil {
		t.Fatal(err)
	}
	bare, _, _ := strings.Cut(u, "?")
	for _, value := range []string{g.Address, "http://" + g.Address, "http://" + g.Address + "/"} {
		t.Setenv("STORAGE_EMULATOR_HOST", value)
		if body, _, err := blobstore.ReadAll(t.Context(), open(t, bare), "k", 10); err != nil || string(body) != "x" {
			t.Errorf("through %s: %q, %v", value, body, err)
		}
	}
	t.Setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:1")
	if _, err := open(t, u).Stat(t.Context(), "k"); err != nil {
		t.Errorf("the endpoint of the URL does not go first: %v", err)
	}
}

func TestWholeBucketNeedsNoPrefix(t *testing.T) {
	u := bucketURL(t, "")
	storetest.RunWholeBucket(t, func(prefix string) blobstore.Store { return open(t, storetest.WithPath(t, u, "/"+prefix)) })
}

func TestStrangersAreNamed(t *testing.T) {
	s := open(t, bucketURL(t, "/cluster"))
	storetest.RunStranger(t, s, func(t *testing.T, name string) {
		w := server.SharedGCS(t).Client(t).Bucket(s.api.bucket).Object(s.prefix + name).NewWriter(t.Context())
		if err := w.Close(); err != nil {
			t.Fatalf("write %s: %v", name, err)
		}
	})
}

func TestVersionsAreKept(t *testing.T) {
	if _, err := blobstore.AsOf(t.Context(), open(t, bucketURL(t, "/cluster")), time.Now()); !errors.Is(err, blobstore.ErrNoVersions) {
		t.Errorf("the past of a bucket without versions: %v", err)
	}
	s := open(t, storetest.WithPath(t, server.VersionedGCS(t).NewBucket(t), "/cluster"))
	storetest.RunVersions(t, s, time.Millisecond)
}
