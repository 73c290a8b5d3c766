package miniostore

import (
	"errors"
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

// bucketURL returns the URL of a store in a new bucket, and sets the
// credentials for it.
func bucketURL(t *testing.T, prefix string) string {
	t.Helper()
	m := server.SharedMinIO(t)
	m.Setenv(t)
	u, err := url.Parse(m.NewBucket(t))
	if err != nil {
		t.Fatal(err)
	}
	return "minio://" + m.Address + "/" + u.Host + "/" + prefix + "?tls=false"
}

// below returns the URL of another store in the same bucket.
func below(t *testing.T, rawURL, prefix string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	bucket, _, _ := strings.Cut(u.Path[1:], "/")
	u.Path = "/" + bucket + "/" + prefix
	return u.String()
}

// through returns the URL of a store with another endpoint.
func through(t *testing.T, rawURL, endpoint string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = strings.TrimPrefix(endpoint, "http://")
	return u.String()
}

// behind is the bucket of a store as one sees it behind the store's back.
func behind(t *testing.T, s *Store) storetest.S3Bucket {
	t.Helper()
	return storetest.S3Bucket{Client: server.SharedMinIO(t).Client(t), Name: s.bucket}
}

func leftovers(t *testing.T, s blobstore.Store) []string {
	t.Helper()
	return behind(t, s.(*Store)).Uploads(t)
}

func TestMinIOConforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) blobstore.Store {
		t.Helper()
		u := bucketURL(t, "")
		return storetest.AmongNeighbours(t, func(prefix string) blobstore.Store { return open(t, below(t, u, prefix)) })
	}, storetest.Leftovers(leftovers))
}

func TestDeleteMarkersAreNoBlobs(t *testing.T) {
	storetest.Run(t, func(t *testing.T) blobstore.Store {
		t.Helper()
		s := open(t, bucketURL(t, "cluster"))
		behind(t, s).KeepVersions(t)
		return storetest.NewBuried(s)
	}, storetest.Except(storetest.LargeBlob, storetest.LongList))
}

func TestProcessesExcludeEachOther(t *testing.T) {
	u := bucketURL(t, "cluster")
	storetest.RunProcesses(t, open(t, u), u, server.SharedMinIO(t).Env()...)
}

func TestNetworkFailuresAreResolved(t *testing.T) {
	storetest.RunNetwork(t, "http://"+server.SharedMinIO(t).Address, func(t *testing.T) storetest.Dial {
		u := bucketURL(t, "cluster") + "&region=us-east-1"
		return func(endpoint string) blobstore.Store { return open(t, through(t, u, endpoint)) }
	}, storetest.Leftovers(leftovers))
}

func TestLifecycleRulesAreMerged(t *testing.T) {
	storetest.RunLifecycle(t, func(t *testing.T) (storetest.S3Bucket, func(string) blobstore.Store) {
		u := bucketURL(t, "")
		return behind(t, open(t, u)), func(prefix string) blobstore.Store { return open(t, below(t, u, prefix)) }
	})
}

func TestStoreThatIgnoresConditions(t *testing.T) {
	m := server.SharedMinIO(t)
	proxy := storetest.NewProxy(t, "http://"+m.Address)
	strip := storetest.StripConditions(storetest.SignS3(m.AccessKey, m.SecretKey, "us-east-1"))
	proxy.Inject(storetest.NetFault{When: storetest.Writing, Times: storetest.Forever, Do: strip})
	s := open(t, through(t, bucketURL(t, "cluster"), proxy.URL()))
	for _, cond := range []blobstore.Condition{blobstore.IfAbsent(), blobstore.IfAbsent(), blobstore.IfMatch("no such")} {
		if _, err := s.Put(t.Context(), "k", []byte("x"), cond); err != nil {
			t.Errorf("put through a proxy that strips conditions: %v", err)
		}
	}
}

func TestWholeBucketNeedsNoPrefix(t *testing.T) {
	u := bucketURL(t, "")
	storetest.RunWholeBucket(t, func(prefix string) blobstore.Store { return open(t, below(t, u, prefix)) })
}

func TestStrangersAreNamed(t *testing.T) {
	s := open(t, bucketURL(t, "cluster"))
	storetest.RunStranger(t, s, func(t *testing.T, name string) { behind(t, s).Plant(t, s.prefix+name) })
}

func TestVersionsAreKept(t *testing.T) {
	s := open(t, bucketURL(t, "cluster"))
	if _, err := blobstore.AsOf(t.Context(), s, time.Now()); !errors.Is(err, blobstore.ErrNoVersions) {
		t.Errorf("the past of a bucket without versions: %v", err)
	}
	behind(t, s).KeepVersions(t)
	storetest.RunVersions(t, s, time.Millisecond)
}

func TestLocksHold(t *testing.T) {
	m := server.SharedMinIO(t)
	m.Setenv(t)
	for lock, mode := range map[string]blobstore.LockMode{"auto": blobstore.Compliance, "governance": blobstore.Governance} {
		bucket, err := url.Parse(m.NewLockedBucket(t))
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, "minio://"+m.Address+"/"+bucket.Host+"/cluster?tls=false&lock="+lock)
		storetest.RunLocks(t, s, mode, mode == blobstore.Governance)
	}
	if got, err := open(t, bucketURL(t, "cluster")).LockMode(t.Context()); err != nil || got != blobstore.NoLock {
		t.Errorf("a bucket without lock: mode %q, %v", got, err)
	}
}

func TestTheDefaultRetentionIsRead(t *testing.T) {
	m := server.SharedMinIO(t)
	m.Setenv(t)
	raw := m.NewLockedBucket(t)
	bucket, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	storetest.RunDefaultLock(t, open(t, "minio://"+m.Address+"/"+bucket.Host+"/cluster?tls=false"), func(n uint, years bool) error { return m.LockByDefault(t, bucket.Host, n, years) })
}

func TestAKnownHashIsSigned(t *testing.T) {
	storetest.SignsKnownHash(t, open(t, bucketURL(t, "")))
}
