package e2e

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/e2e/server"
)

// syncPair is two hosts whose servers' commits wait for a bucket to which one wire leads.
func syncPair(t *testing.T, more string) (*serverPair, *server.Wire) {
	t.Helper()
	minio := server.SharedMinIO(t)
	wire := server.NewWire(t, minio.Address)
	bucket := strings.Replace(minio.NewBucket(t), url.QueryEscape(minio.Address), url.QueryEscape(wire.Address), 1)
	p := newServers(t, serverSetup{cluster: newCluster(t, bucket, minio.Env()), more: ", sync: true" + more}, "host-a", "host-b")
	p.a.eventually("commits wait for the bucket", p.armed(p.a))
	p.b.follows()
	return p, wire
}

// armed fails unless the commits of a host's server wait for the bucket.
func (p *serverPair) armed(h *host) func() error {
	return func() error {
		if is := answer(p.t, p.on[h].DSN("postgres"), "SELECT coalesce(string_agg(sync_state, ''), '') FROM pg_stat_replication WHERE application_name = 'understudy_db'"); is != "sync" {
			return fmt.Errorf("the shipper is %q", is)
		}
		return nil
	}
}

// isLost loses the active with its disk, and has the standby take over: it has every row
// that was acknowledged.
func (p *serverPair) isLost(d *diary, at time.Time) {
	p.t.Helper()
	if err := os.RemoveAll(p.on[p.a].Data()); err != nil {
		p.t.Fatal(err)
	}
	p.b.promotes("--failover", "--host-is-off")
	if lost, age := d.goesOn(p.t, p.on[p.b].DSN("postgres"), at); lost > 0 {
		p.t.Errorf("%d rows that were acknowledged are lost, the first of them from %v before", lost, age)
	}
}

// TestCommitsWaitAgainOnceTheBucketIsBack: the fencing is available and the bucket is dead.
// After sync_patience commits do not wait any longer, which is told until they do again. What
// was acknowledged meanwhile is in the bucket by then.
func TestCommitsWaitAgainOnceTheBucketIsBack(t *testing.T) {
	t.Parallel()
	p, wire := syncPair(t, ", sync_patience: 3s")
	var d diary
	end := d.write(t, p.on[p.a].DSN("postgres"))
	d.grows(t, 50)
	wire.Cut()
	p.a.said("commits of db do not wait for the bucket", "has not answered for 3s")
	d.grows(t, 100)
	p.a.eventually("shows it", func() error {
		if s := p.a.status(); s.Healthy || !strings.Contains(strings.Join(s.Problems, "\n"), "do not wait for the bucket") {
			return fmt.Errorf("problems %q", s.Problems)
		}
		return nil
	})
	wire.Mend(t)
	p.a.eventually("commits wait for the bucket", p.armed(p.a))
	p.a.said("commits of db wait for the bucket again")
	d.grows(t, 50)
	at := p.crashes(p.a)
	end()
	p.isLost(&d, at)
}
