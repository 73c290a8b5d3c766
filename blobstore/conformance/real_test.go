package conformance_test

import (
	"net/url"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/azstore"
	"github.com/understudy-ha/understudy/blobstore/filestore"
	"github.com/understudy-ha/understudy/blobstore/gcsstore"
	"github.com/understudy-ha/understudy/blobstore/miniostore"
	"github.com/understudy-ha/understudy/blobstore/s3store"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

func TestMain(m *testing.M) { os.Exit(server.Run(m)) }

var providers = blobstore.Mux{
	"file":            filestore.Open,
	azstore.Scheme:    azstore.Open,
	gcsstore.Scheme:   gcsstore.Open,
	miniostore.Scheme: miniostore.Open,
	s3store.Scheme:    s3store.Open,
}

// real is a bucket on a real server.
type real struct {
	url     string
	address string                      // of the server, as the proxy's target
	through func(address string) string // the URL by way of a proxy; nil: there is none
	strip   storetest.NetAction         // nil: the signature cannot be made anew
}

// through is a bucket's URL with another endpoint.
func through(t *testing.T, bucket, endpoint string) string {
	t.Helper()
	u, err := url.Parse(bucket)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("endpoint", endpoint)
	u.RawQuery = query.Encode()
	return u.String()
}

// bucketName is the name in an s3:// URL.
func bucketName(t *testing.T, bucket string) string {
	t.Helper()
	u, err := url.Parse(bucket)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// realStores makes a bucket on each server.
func realStores(t *testing.T) map[string]real {
	t.Helper()
	m, g, a := server.SharedMinIO(t), server.SharedGCS(t), server.SharedAzurite(t)
	m.Setenv(t)
	g.Setenv(t)
	a.Setenv(t)
	s3, gs, az := m.NewBucket(t), g.NewBucket(t), a.NewBucket(t)
	versioned := m.NewBucket(t)
	if err := m.Client(t).SetBucketVersioning(t.Context(), bucketName(t, versioned), minio.BucketVersioningConfiguration{Status: "Enabled"}); err != nil {
		t.Fatal(err)
	}
	endpoint := func(bucket string) func(string) string {
		return func(address string) string { return through(t, bucket, address) }
	}
	sign := storetest.SignS3(m.AccessKey, m.SecretKey, "us-east-1")
	return map[string]real{
		"file":         {url: "file://" + t.TempDir()},
		"s3":           {s3, "http://" + m.Address, endpoint(s3), storetest.StripConditions(sign)},
		"s3 versioned": {versioned, "http://" + m.Address, endpoint(versioned), storetest.StripConditions(sign)},
		"minio": {
			"minio://" + m.Address + "/" + bucketName(t, s3) + "/prefix?tls=false&region=us-east-1",
			"http://" + m.Address, nil, nil,
		},
		"gs": {gs, "http://" + g.Address, endpoint(gs), storetest.StripConditions(nil)},
		"azblob": {az, "http://" + a.Address, func(address string) string {
			return endpoint(az)(address + "/" + a.Account)
		}, nil},
	}
}

func open(t *testing.T, rawURL string) blobstore.Store {
	t.Helper()
	s, err := providers.Open(t.Context(), rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantEmpty checks that nothing is left in a bucket.
func wantEmpty(t *testing.T, s blobstore.Store) {
	t.Helper()
	for attrs, err := range s.List(t.Context(), "", "") {
		t.Errorf("left behind: %s, %v", attrs.Key, err)
	}
}

func TestEveryRealStoreIsSafe(t *testing.T) {
	for name, r := range realStores(t) {
		t.Run(name, func(t *testing.T) {
			s := open(t, r.url)
			report := full(t, s, time.Now)
			if found := outcomes(report); len(found) > 0 {
				t.Errorf("%v: %v", found, report.Err())
			}
			for _, value := range []string{"put_median_seconds", "get_max_seconds"} {
				if v := get(t, report, "latency").Values[value]; v <= 0 {
					t.Errorf("%s is %v", value, v)
				}
			}
			wantEmpty(t, s)
		})
	}
}

func TestRealStoresBehindProxiesThatLieAreFoundOut(t *testing.T) {
	for name, r := range realStores(t) {
		if r.through == nil {
			continue // the same server is asked as s3
		}
		proxy := storetest.NewProxy(t, r.address)
		s, honest := open(t, r.through(proxy.URL())), open(t, r.url)
		lies := func(do storetest.NetAction, breaks ...string) {
			proxy.Inject(storetest.NetFault{Times: storetest.Forever, Do: do})
			broken := safety(t, s).Broken()
			for _, promise := range breaks {
				if !slices.Contains(broken, promise) {
					t.Errorf("broken: %v, not %s", broken, promise)
				}
			}
			proxy.Heal()
			wantEmpty(t, honest)
		}
		t.Run(name+" stale", func(t *testing.T) {
			lies(storetest.StaleReads(), "read-after-write", "read-after-overwrite", "list-after-write")
		})
		if r.strip != nil {
			t.Run(name+" stripped", func(t *testing.T) {
				lies(r.strip, "create-if-absent", "create-if-absent-contended", "compare-and-swap", "compare-and-swap-contended")
			})
		}
	}
}
