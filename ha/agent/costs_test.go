package agent

import (
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/blobstore/s3store"
	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/requests"
)

var costsOut = flag.String("costs.out", "", "file for the table of what a day costs")

// meter is an HTTP proxy before a store that counts requests as Amazon bills them.
type meter struct {
	*httptest.Server
	mu sync.Mutex
	n  bill
}

// bill is what was asked of a bucket, by what providers charge for. Deletes are free.
type bill struct{ puts, lists, gets, deletes int }

func (b bill) times(n int) bill { return bill{b.puts * n, b.lists * n, b.gets * n, b.deletes * n} }
func (b bill) plus(o bill) bill {
	return bill{b.puts + o.puts, b.lists + o.lists, b.gets + o.gets, b.deletes + o.deletes}
}

// dollars is the price at Amazon S3 Standard, us-east-1, which is that of Google's, and
// at Azure Blob Storage, hot, LRS.
func (b bill) dollars() (amazon, azure float64) {
	dear, cheap := float64(b.puts+b.lists)/1000, float64(b.gets)/1000
	return dear*0.005 + cheap*0.0004, dear*0.0065 + cheap*0.0005
}

func newMeter(t *testing.T, address string) *meter {
	t.Helper()
	m := &meter{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo) // who has gone knows it
	m.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.count(r)
		proxy.ServeHTTP(w, r)
	}))
	// A connection that waits for more would hold up the test's own clock.
	m.Config.SetKeepAlivesEnabled(false)
	m.Config.ReadHeaderTimeout = time.Second // a request that was given up leaves one behind
	m.Start()
	t.Cleanup(m.Close)
	return m
}

func (m *meter) count(r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodDelete:
		m.n.deletes++
	case r.Method == http.MethodPut, r.Method == http.MethodPost:
		m.n.puts++
	case query.Has("list-type"), query.Has("versions"):
		m.n.lists++
	default:
		m.n.gets++
	}
}

// read returns what was counted since it was read last.
func (m *meter) read() bill {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.n
	m.n = bill{}
	return n
}

// schedule is how a cluster spends a day.
type schedule struct {
	name      string
	frequency time.Duration
	paused    bool // no backups at all
	changes   bool // the state, between any two backups
}

var schedules = []schedule{
	{name: "paused: no backups", frequency: 5 * time.Minute, paused: true},
	{name: "every 5 minutes, nothing changes", frequency: 5 * time.Minute},
	{name: "every 5 minutes, a small change each time", frequency: 5 * time.Minute, changes: true},
	{name: "every minute, a small change each time", frequency: time.Minute, changes: true},
}

// A bucket is paid by the request. docs/stores.md has the table that this test writes
// (-costs.out=FILE): requests over HTTP to a real MinIO server, counted on their way by
// a proxy before it for each instance, in an hour on the test's own clock, of agents at
// default settings.
func TestADayCostsWhatTheDocumentationSays(t *testing.T) {
	store := server.MinIO(t)
	doc, err := os.ReadFile("../../docs/stores.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for _, kind := range schedules {
		for _, instances := range []int{2, 3} {
			if instances == 3 && *costsOut == "" {
				continue // the third is as the second
			}
			t.Run(fmt.Sprintf("%s, %d instances", kind.name, instances), func(t *testing.T) {
				row := fmt.Sprintf("| %s | %d |", kind.name, instances)
				perDay := hourOf(t, store, kind, instances)
				all := perDay[0]
				for _, n := range perDay[1:] {
					all = all.plus(n)
				}
				amazon, azure := all.dollars()
				fmt.Fprintf(&table, "%s %s | %s | %s | %.2f | %.2f |\n", row, perDay[0], perDay[1], all, amazon, azure)
				if *costsOut == "" {
					checkBill(t, string(doc), row, all)
				}
			})
		}
	}
	t.Log("\n" + table.String())
	if *costsOut != "" {
		if err := os.WriteFile(*costsOut, []byte(table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// String tells the dear requests (puts and lists) and the cheap ones.
func (b bill) String() string { return fmt.Sprintf("%d + %d / %d", b.puts, b.lists, b.gets) }

// checkBill holds the documentation's row to what was measured.
func checkBill(t *testing.T, doc, row string, got bill) {
	t.Helper()
	_, rest, ok := strings.Cut(doc, row)
	if !ok {
		t.Errorf("the documentation has no row %q", row)
		return
	}
	rest, _, _ = strings.Cut(rest, "\n")
	cells := strings.Split(rest, "|")
	var want bill
	if _, err := fmt.Sscanf(strings.TrimSpace(cells[2]), "%d + %d / %d", &want.puts, &want.lists, &want.gets); err != nil {
		t.Errorf("row %q: %v", row, err)
		return
	}
	if got.puts > want.puts*21/20 || got.lists > want.lists*21/20 || got.gets > want.gets*21/20 {
		t.Errorf("%s %v a day, more than the %v of the documentation", row, got, want)
	}
	if got.puts < want.puts*3/4 || got.gets < want.gets*3/4 {
		t.Errorf("%s %v a day: the documentation's %v is out of date", row, got, want)
	}
}

// hourOf measures an hour of a cluster, and returns what a day has of each instance:
// of the active first.
func hourOf(t *testing.T, store *server.MinIOServer, kind schedule, instances int) []bill {
	t.Helper()
	bucket := openToAll(t, store)
	meters := make([]*meter, instances)
	for i := range meters {
		meters[i] = newMeter(t, store.Address)
	}
	perDay := make([]bill, instances)
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.stopAll()
		hosts := make([]*host, instances)
		for i := range hosts {
			hosts[i] = c.host(string(rune('a' + i)))
			hosts[i].change = through(t, meters[i], bucket)
		}
		spend(c, kind, hosts)
		for _, m := range meters {
			m.read()
		}
		for i := range int(time.Hour / kind.frequency) {
			if kind.changes {
				hosts[0].write("state", fmt.Sprint("version ", i))
			}
			c.pass(kind.frequency)
		}
		for i, m := range meters {
			perDay[i] = m.read().times(24)
		}
	})
	return perDay
}

// spend starts a cluster and lets pass what happens once.
func spend(c *cluster, kind schedule, hosts []*host) {
	c.t.Helper()
	a := hosts[0]
	a.write("state", "one")
	config := ha.DefaultConfig()
	config.Frequency = ha.Duration(kind.frequency)
	if _, err := Init(c.t.Context(), a.config(), config); err != nil {
		c.t.Fatal(err)
	}
	a.start()
	a.untilLeading()
	for _, h := range hosts[1:] {
		h.join(false)
		h.start()
	}
	first := a.backup()
	for _, h := range hosts[1:] {
		h.untilCached(first)
	}
	if kind.paused {
		if err := a.agent.requests.Pause(event.WithActor(c.t.Context(), "test"), requests.PauseRequest{}); err != nil {
			c.t.Fatal(err)
		}
	}
	c.pass(10 * time.Minute)
}

// openToAll makes a bucket that takes requests without a signature: the test's clock
// is far from the server's.
func openToAll(t *testing.T, store *server.MinIOServer) string {
	t.Helper()
	u, err := url.Parse(store.NewBucket(t))
	if err != nil {
		t.Fatal(err)
	}
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:*"],"Resource":["arn:aws:s3:::%[1]s","arn:aws:s3:::%[1]s/*"]}]}`, u.Host)
	if err := store.Client(t).SetBucketPolicy(t.Context(), u.Host, policy); err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// through has a host ask its bucket through a meter.
func through(t *testing.T, m *meter, bucket string) func(*Config) {
	t.Helper()
	query := url.Values{"endpoint": {m.URL}, "region": {"us-east-1"}, "anonymous": {"true"}}
	u := &url.URL{Scheme: s3store.Scheme, Host: bucket, Path: "/cluster", RawQuery: query.Encode()}
	opened, err := s3store.Open(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	return func(cfg *Config) { cfg.Store = opened }
}
