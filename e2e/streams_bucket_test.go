package e2e

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

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
func (p *serverPair) isLost(d *diary, at time.Time, how ...string) {
	p.t.Helper()
	if err := os.RemoveAll(p.on[p.a].Data()); err != nil {
		p.t.Fatal(err)
	}
	p.b.promotesSoon(append([]string{"--failover"}, how...)...)
	if lost, age := d.goesOn(p.t, p.on[p.b].DSN("postgres"), at); lost > 0 {
		p.t.Errorf("%d rows that were acknowledged are lost, the first of them from %v before", lost, age)
	}
}

// commitsWait has sessions commit on a host's server, one after the other, until so many wait:
// more of the log than is read ahead.
func (p *serverPair) commitsWait(h *host, n int) {
	p.t.Helper()
	dsn := p.on[h].DSN("postgres")
	for want := range n {
		conn, err := pgx.Connect(p.t.Context(), dsn)
		if err != nil {
			p.t.Fatal(err)
		}
		go func() {
			_, _ = conn.Exec(context.Background(), "SELECT pg_logical_emit_message(true, 'waits', repeat('x', 100))") // the server stops
			_ = conn.Close(context.Background())
		}()
		h.eventually("commits wait", func() error {
			if is := answer(p.t, dsn, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"); is <= fmt.Sprint(want) {
				return fmt.Errorf("%s wait", is)
			}
			return nil
		})
	}
}

// TestAServerStopsInTimeThoughItsCommitsWait: the fencing is strict and the bucket is dead.
// Commits wait, and what they wrote is not confirmed. The server is stopped within the
// active's bound all the same, and a successor has every row that was acknowledged.
func TestAServerStopsInTimeThoughItsCommitsWait(t *testing.T) {
	t.Parallel()
	p, wire := syncPair(t, ", sync_patience: 1s")
	p.a.run("config", "set", "fencing", "strict")
	var d diary
	end := d.write(t, p.on[p.a].DSN("postgres"))
	d.grows(t, 50)
	p.b.follows()
	cut := time.Now()
	wire.Cut()
	p.commitsWait(p.a, 8)
	p.a.eventually("its server stops", func() error {
		if p.on[p.a].Runs() {
			return fmt.Errorf("it runs after %v", time.Since(cut))
		}
		return nil
	})
	took, bound := time.Since(cut), 18*time.Second // TTL and margin, as newServers sets them
	t.Logf("the server had stopped %v after the cut", took.Round(time.Millisecond))
	if took > bound {
		t.Errorf("the server had stopped %v after the cut, want %v at most", took, bound)
	}
	if p.a.told("do not wait for the bucket") {
		t.Error("the wait was lifted")
	}
	end()
	p.a.killAgent()
	wire.Mend(t)
	p.isLost(&d, time.Now())
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
	p.b.follows()
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
	p.isLost(&d, at, "--host-is-off")
}
