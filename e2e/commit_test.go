package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/report"
)

var commitTries = flag.Int("commit.tries", 3, "how many backups are timed from their commit until a standby has them")

// TestABackupIsSoonInTheCache measures how long after its commit a backup of 1 MB that
// has changed is verified and durable in a standby's cache: on loopback, and where each
// answer of the bucket to the standby takes 50 ms longer. The difference tells how many
// requests wait for one another.
func TestABackupIsSoonInTheCache(t *testing.T) {
	const latency = 50 * time.Millisecond
	c := newCluster(t, "", nil)
	m := server.MinIO(t)
	c.env = m.Env()
	bucket := m.NewBucket(t)
	wire := server.NewWire(t, m.Address)
	a := commitHost(c, "host-a", bucket)
	sourcetest.WriteTree(t, a.app.(plain).dir, 1, sourcetest.TreeSize{Files: 300, Bytes: 16 << 20})
	b := commitHost(c, "host-b", strings.Replace(bucket, url.QueryEscape(m.Address), url.QueryEscape(wire.Address), 1))
	a.run("init")
	a.serve()
	a.eventually("has made the first backup", func() error {
		if a.status().LastBackup == nil {
			return fmt.Errorf("no backup")
		}
		return nil
	})
	b.run("join")
	b.serve()
	near := untilCached(t, a, b)
	wire.Disturb(t, server.Trouble{Type: "latency", With: map[string]any{"latency": latency.Milliseconds()}})
	far := untilCached(t, a, b)
	trips := func(far, near time.Duration) float64 { return float64(far-near) / float64(latency) }
	middle := *commitTries / 2
	t.Logf("from the commit of 1 MB to the cache of a standby, median of %d: %v on loopback, %v with %v of latency: %.1f round trips more",
		*commitTries, near[middle].Round(time.Millisecond), far[middle].Round(time.Millisecond), latency, trips(far[middle], near[middle]))
	// On a machine that is busy, times alone do not tell three from four; a standby that
	// was not told, and waits for its poll, is ten late.
	if n := trips(far[0], near[0]); n > 8 {
		t.Errorf("%.1f requests waited for one another, want about 3", n)
	}
}

// commitHost is a host with a bucket of its own address.
func commitHost(c *cluster, name, bucket string) *host {
	c.bucket = bucket
	dir := filepath.Join(c.dir, name+"-app")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		c.t.Fatal(err)
	}
	return c.host(name, plain{&sample{dir: dir}})
}

// untilCached times some backups from their commit until they are cached, by the events
// of both hosts, which have one clock; the quickest comes first.
func untilCached(t *testing.T, a, b *host) []time.Duration {
	t.Helper()
	data := make([]byte, 1<<20)
	var took []time.Duration
	for range *commitTries {
		b.eventually("is idle", func() error {
			if s := b.status(); s.State != report.StateInSync || s.Work != "" {
				return fmt.Errorf("state %q, work %q", s.State, s.Work)
			}
			return nil
		})
		for i := range data {
			data[i] = byte(rand.Uint32())
		}
		if err := os.WriteFile(filepath.Join(a.app.(plain).dir, "changing"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		a.run("backup")
		id := a.status().LastBackup.ID
		b.caches(id)
		took = append(took, timeOf(t, b, "backup "+id+" is cached").Sub(timeOf(t, a, "backup "+id+" is published")))
	}
	slices.Sort(took)
	t.Log(took)
	return took
}

// timeOf is when an event was.
func timeOf(t *testing.T, h *host, text string) time.Time {
	t.Helper()
	for _, e := range query[[]event.Event](h, "events", "--limit", "50") {
		if strings.HasPrefix(e.Text, text) {
			return e.Time
		}
	}
	t.Fatalf("%s: there is no event %q", h.name, text)
	return time.Time{}
}
