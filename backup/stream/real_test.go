package stream_test

import (
	"bytes"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/stream"
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

// bucket is one on a real server: its URL, and what a proxy is to stand before.
type bucket struct{ url, target, path string }

func buckets(t *testing.T) map[string]bucket {
	t.Helper()
	m, g, a := server.SharedMinIO(t), server.SharedGCS(t), server.SharedAzurite(t)
	m.Setenv(t)
	g.Setenv(t)
	a.Setenv(t)
	s3 := m.NewBucket(t)
	u, err := url.Parse(s3)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]bucket{
		"file":      {url: "file://" + t.TempDir()},
		"s3":        {s3, "http://" + m.Address, ""},
		"s3 locked": {url: m.NewLockedBucket(t)},
		"minio":     {url: "minio://" + m.Address + "/" + u.Host + "/prefix?tls=false&region=us-east-1"},
		"gs":        {g.NewBucket(t), "http://" + g.Address, ""},
		"azblob":    {a.NewBucket(t), "http://" + a.Address, "/" + a.Account},
	}
}

// on makes a bucket the world's, by way of a proxy if there is one.
func (w *world) on(t *testing.T, b bucket, proxy *storetest.Proxy) {
	t.Helper()
	u, err := url.Parse(b.url)
	if err != nil {
		t.Fatal(err)
	}
	if proxy != nil {
		query := u.Query()
		query.Set("endpoint", proxy.URL()+b.path)
		u.RawQuery = query.Encode()
	}
	s, err := providers.Open(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	w.store = storetest.NewFaulty(s)
}

func TestStreamsOnRealStores(t *testing.T) {
	for name, b := range buckets(t) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.now = time.Now()
			w.on(t, b, nil)
			cfg := w.config()
			if name == "s3 locked" {
				cfg.Lock = blobstore.Compliance
			}
			c := w.open(cfg)
			if _, _, err := c.Read(t.Context(), db, first, start); !errors.Is(err, stream.ErrNotYet) || errors.Is(err, blobstore.ErrDenied) {
				t.Errorf("a part that nobody has written: %v", err)
			}
			tips := w.ship(c, start, 1100, 1500, 30000)
			if tip, err := c.Find(t.Context(), db, first, 1499, tips[2]); err != nil || tip.Digest != tips[0].Digest {
				t.Errorf("found %+v, %v", tip, err)
			}
			if tip, err := w.open(cfg).Append(t.Context(), tips[0], w.part(tips[0], 2000)); err != nil || tip != tips[1] {
				t.Errorf("a restart adopts %+v, %v", tip, err)
			}
			fork := w.part(tips[1], 3000)
			fork.Log = make([]byte, len(fork.Log))
			if _, err := w.open(cfg).Append(t.Context(), tips[1], fork); !errors.As(err, new(*stream.ForkedError)) {
				t.Errorf("another log: %v", err)
			}
			w.contend(cfg, tips[2])
			if locks, ok := blobstore.As[blobstore.Locks](w.store); cfg.Lock != "" {
				lock, err := locks.LockOf(t.Context(), stream.Key(db, first, 1))
				if !ok || err != nil || lock.Mode != cfg.Lock || lock.Until.Before(w.now.Add(stream.Life-time.Minute)) {
					t.Errorf("the first part's lock is %+v, %v", lock, err)
				}
			}
		})
	}
}

// contend has two processes of one host and two promoters write at the same time.
func (w *world) contend(cfg stream.Config, after stream.Tip) {
	w.t.Helper()
	var all sync.WaitGroup
	var ends [2]stream.Tip
	for i, who := range []string{"p", "q"} {
		all.Go(func() {
			var err error
			if _, ends[i], err = w.open(cfg).Close(w.t.Context(), after, byPromoter(who)); err != nil {
				w.t.Error(err)
			}
		})
		all.Go(func() {
			for tip, to := after, after.To; tip.To < 60000; {
				next, err := w.open(cfg).Append(w.t.Context(), tip, w.part(tip, min(60000, max(to, tip.To+stream.Position(1000+500*i)))))
				var ahead *stream.AheadError
				switch {
				case errors.As(err, &ahead):
					to = ahead.Tip.To
				case errors.As(err, new(*stream.EndedError)):
					return
				case err != nil:
					w.t.Error(err)
					return
				default:
					tip = next
				}
			}
		})
	}
	all.Wait()
	if tip := w.wantLog(w.open(cfg), ends[0].To); tip != ends[0] || tip != ends[1] {
		w.t.Errorf("the stream ends with %+v, the promoters have %+v", tip, ends)
	}
}

func TestAnAnswerThatIsLostOnTheNetworkIsSettled(t *testing.T) {
	for name, b := range buckets(t) {
		if b.target == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			proxy := storetest.NewProxy(t, b.target)
			w.on(t, b, proxy)
			proxy.Inject(storetest.NetFault{Times: 2, Do: storetest.DropAnswer(), When: func(r *http.Request) bool {
				return strings.Contains(r.URL.String(), "000000000002") && r.Method != http.MethodGet || r.Method == http.MethodPost
			}})
			c := w.chain()
			tips := w.ship(c, start, 1100, 1500, 3000)
			w.wantLog(c, 3000)
			if n := w.store.Count(storetest.Conditional); n < 5 {
				t.Errorf("%d writes of three parts, of which two answers were lost", n)
			}
			proxy.Heal()
			proxy.Inject(storetest.NetFault{Times: 2, Do: storetest.Answer(http.StatusServiceUnavailable)})
			w.ship(c, tips[2], 3500)
			w.wantLog(c, 3500)
		})
	}
}

// Amazon S3 denies access to what is not there to who may not list. MinIO does not.
func TestABucketThatMayNotBeListed(t *testing.T) {
	w := newWorld(t)
	b := buckets(t)["s3"]
	proxy := storetest.NewProxy(t, b.target)
	w.on(t, b, proxy)
	proxy.Inject(storetest.NetFault{Times: storetest.Forever, Do: func(rw http.ResponseWriter, r *http.Request, pass http.Handler) {
		answer := httptest.NewRecorder()
		pass.ServeHTTP(answer, r)
		if answer.Code == http.StatusNotFound {
			answer.Code = http.StatusForbidden
			answer.Body = bytes.NewBuffer(bytes.ReplaceAll(answer.Body.Bytes(), []byte("NoSuchKey"), []byte("AccessDenied")))
		}
		maps.Copy(rw.Header(), answer.Header())
		rw.Header().Set("Content-Length", strconv.Itoa(answer.Body.Len()))
		rw.WriteHeader(answer.Code)
		_, _ = rw.Write(answer.Body.Bytes())
	}})
	c := w.chain()
	if _, _, err := c.Read(t.Context(), db, first, start); !errors.Is(err, stream.ErrNotYet) || !errors.Is(err, blobstore.ErrDenied) {
		t.Fatalf("a part that is not there: %v", err)
	}
	tips := w.ship(c, start, 1100, 1500)
	if _, end, err := c.Close(t.Context(), tips[0], byPromoter("p")); err != nil || end.Sequence != 3 {
		t.Errorf("the end is %+v, %v", end, err)
	}
	w.wantLog(c, 1500)
}

// An active writes, locks and ends streams with the policy that the packages have for it,
// and a standby reads them with its own, which keeps it from writing.
func TestPoliciesSufficeForStreams(t *testing.T) {
	m := server.SharedMinIO(t)
	for name, b := range map[string]string{"plain": m.NewBucket(t), "locked": m.NewLockedBucket(t)} {
		t.Run(name, func(t *testing.T) {
			m.Setenv(t)
			u, err := url.Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t)
			w.now = time.Now()
			as := func(policy string) *stream.Chain {
				text, err := os.ReadFile("../../cmd/understudy/packaging/policies/" + policy + ".json")
				if err != nil {
					t.Fatal(err)
				}
				mine := strings.NewReplacer("BUCKET", u.Host, "PREFIX", "some/prefix").Replace(string(text))
				for _, env := range m.SetUser(t, u.Host+"-"+policy, mine) {
					key, value, _ := strings.Cut(env, "=")
					t.Setenv(key, value)
				}
				w.on(t, bucket{url: u.JoinPath("some/prefix").String()}, nil)
				cfg := w.config()
				if name == "locked" {
					cfg.Lock = blobstore.Compliance
				}
				return w.open(cfg)
			}
			active := as("active")
			tips := w.ship(active, start, 1100, 1500)
			standby := as("standby")
			if tip := w.wantLog(standby, 1500); tip != tips[1] {
				t.Errorf("a standby reads up to %+v", tip)
			}
			if _, err := standby.Append(t.Context(), tips[1], w.part(tips[1], 2000)); !errors.Is(err, blobstore.ErrDenied) || !strings.Contains(err.Error(), "s3:PutObject is needed") {
				t.Errorf("a standby appends: %v", err)
			}
			if _, _, err := standby.Close(t.Context(), tips[1], byPromoter("p")); !errors.Is(err, blobstore.ErrDenied) {
				t.Errorf("a standby ends a stream: %v", err)
			}
			if _, _, err := active.Close(t.Context(), tips[1], byPromoter("p")); err != nil {
				t.Errorf("the active's policy ends a stream: %v", err)
			}
		})
	}
}
