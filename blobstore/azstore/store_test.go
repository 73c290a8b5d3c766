package azstore

import (
	"bytes"
	"net/url"
	"os"
	"slices"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"

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

// bucketURL returns the URL of a new container, and sets the credentials for
// it.
func bucketURL(t *testing.T, prefix string) string {
	t.Helper()
	a := server.SharedAzurite(t)
	a.Setenv(t)
	return storetest.WithPath(t, a.NewBucket(t), prefix)
}

// through returns the URL with another server.
func through(t *testing.T, rawURL, address string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	u.RawQuery = url.Values{"endpoint": {address + "/" + server.SharedAzurite(t).Account}}.Encode()
	return u.String()
}

// leftovers names the blobs of which there are but uncommitted blocks.
func leftovers(t *testing.T, s blobstore.Store) []string {
	t.Helper()
	pages := s.(*Store).container.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
		Include: container.ListBlobsInclude{UncommittedBlobs: true},
	})
	var all []string
	for pages.More() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Segment.BlobItems {
			if *item.Properties.ContentLength == 0 {
				all = append(all, *item.Name)
			}
		}
	}
	return slices.DeleteFunc(all, func(name string) bool {
		_, err := s.(*Store).container.NewBlobClient(name).GetProperties(t.Context(), nil)
		return err == nil
	})
}

func TestAzuriteConforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) blobstore.Store {
		t.Helper()
		u := bucketURL(t, "")
		return storetest.AmongNeighbours(t, func(prefix string) blobstore.Store { return open(t, storetest.WithPath(t, u, "/"+prefix)) })
	}, storetest.Leftovers(leftovers))
}

func TestProcessesExcludeEachOther(t *testing.T) {
	for _, prefix := range []string{"", "/cluster"} {
		u := bucketURL(t, prefix)
		storetest.RunProcesses(t, open(t, u), u, server.SharedAzurite(t).Env()...)
	}
}

func TestNetworkFailuresAreResolved(t *testing.T) {
	storetest.RunNetwork(t, "http://"+server.SharedAzurite(t).Address, func(t *testing.T) storetest.Dial {
		t.Helper()
		u := bucketURL(t, "/cluster")
		return func(address string) blobstore.Store { return open(t, through(t, u, address)) }
	}, storetest.Leftovers(leftovers))
}

func TestMissingContainerIsInvalid(t *testing.T) {
	bucketURL(t, "")
	s := open(t, server.SharedAzurite(t).URL("never-made"))
	_, _, err := s.Get(t.Context(), "k", blobstore.GetOptions{})
	storetest.WantKind(t, "get", err, blobstore.ErrInvalid)
	_, err = s.Stat(t.Context(), "k")
	storetest.WantKind(t, "stat", err, blobstore.ErrInvalid)
	storetest.WantKind(t, "delete", s.Delete(t.Context(), "k"), blobstore.ErrInvalid)
	for _, cond := range []blobstore.Condition{blobstore.Always, blobstore.IfAbsent(), blobstore.IfMatch(`"t"`)} {
		_, err = s.Put(t.Context(), "k", nil, cond)
		storetest.WantKind(t, "put", err, blobstore.ErrInvalid)
	}
	for _, err = range s.List(t.Context(), "", "") {
		storetest.WantKind(t, "list", err, blobstore.ErrInvalid)
	}
}

func TestWrongKeyIsDenied(t *testing.T) {
	u := bucketURL(t, "")
	t.Setenv(keyEnv, "AAAA"+server.SharedAzurite(t).Key[4:])
	_, err := open(t, u).Put(t.Context(), "k", nil, blobstore.IfAbsent())
	storetest.WantKind(t, "put", err, blobstore.ErrDenied)
}

func TestLeasedBlobIsDeniedNotLost(t *testing.T) {
	s := open(t, bucketURL(t, "/cluster"))
	attrs, err := s.Put(t.Context(), "head.json", []byte("one"), blobstore.IfAbsent())
	if err != nil {
		t.Fatal(err)
	}
	holder, err := lease.NewBlobClient(s.container.NewBlobClient("cluster/head.json"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.AcquireLease(t.Context(), -1, nil); err != nil {
		t.Fatal(err)
	}
	for _, cond := range []blobstore.Condition{blobstore.Always, blobstore.IfMatch(attrs.Token)} {
		_, err = s.Put(t.Context(), "head.json", []byte("two"), cond)
		storetest.WantKind(t, "put", err, blobstore.ErrDenied)
	}
	storetest.WantKind(t, "delete", s.Delete(t.Context(), "head.json"), blobstore.ErrDenied)
}

func TestSnapshotsAreNotDeleted(t *testing.T) {
	s := open(t, bucketURL(t, ""))
	if _, err := s.Put(t.Context(), "k", []byte("one"), blobstore.IfAbsent()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.container.NewBlobClient("k").CreateSnapshot(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	storetest.WantKind(t, "delete", s.Delete(t.Context(), "k"), blobstore.ErrDenied)
}

func TestBytesComeAsTheyAreStored(t *testing.T) {
	s := open(t, bucketURL(t, ""))
	want, encoding := []byte("not really compressed"), "gzip"
	_, err := s.container.NewBlockBlobClient("k").Upload(t.Context(), streaming.NopCloser(bytes.NewReader(want)),
		&blockblob.UploadOptions{HTTPHeaders: &blob.HTTPHeaders{BlobContentEncoding: &encoding}})
	if err != nil {
		t.Fatal(err)
	}
	if body, _, err := blobstore.ReadAll(t.Context(), s, "k", 100); err != nil || !bytes.Equal(body, want) {
		t.Errorf("read %q, %v", body, err)
	}
}

func TestWholeContainerNeedsNoPrefix(t *testing.T) {
	u := bucketURL(t, "")
	storetest.RunWholeBucket(t, func(prefix string) blobstore.Store { return open(t, storetest.WithPath(t, u, "/"+prefix)) })
}

func TestStrangersAreNamed(t *testing.T) {
	s := open(t, bucketURL(t, "/cluster"))
	storetest.RunStranger(t, s, func(t *testing.T, name string) {
		if _, err := s.upload(t.Context(), name, []byte("x"), nil); err != nil {
			t.Fatalf("upload %s: %v", name, err)
		}
	})
}
