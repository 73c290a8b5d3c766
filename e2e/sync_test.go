package e2e

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha/promotions"
)

// TestWithSyncNothingThatWasAcknowledgedIsLost: the active's host and its disk are lost
// while rows are written, and the standby has every row whose commit was acknowledged.
// Its own commits wait, too, once its stream goes on.
func TestWithSyncNothingThatWasAcknowledgedIsLost(t *testing.T) {
	t.Parallel()
	p := newServerPair(t, ", sync: true")
	dsn := p.on[p.a].DSN("postgres")
	armed := func(dsn string) func() error {
		return func() error {
			if is := answer(t, dsn, "SELECT coalesce(string_agg(sync_state, ''), '') FROM pg_stat_replication WHERE application_name = 'understudy_db'"); is != "sync" {
				return fmt.Errorf("the shipper is %q", is)
			}
			return nil
		}
	}
	p.a.eventually("commits wait for the bucket", armed(dsn))
	var l commits
	end := l.writes(t, dsn)
	p.b.streams(time.Now())
	eventually(t, "rows are written", func() error {
		if l.rows() < 200 {
			return errors.New("not yet")
		}
		return nil
	})
	p.a.killAgent()
	p.on[p.a].Kill(t)
	end()
	if err := os.RemoveAll(p.on[p.a].Data()); err != nil {
		t.Fatal(err)
	}
	promoted := query[promotions.PromotionStatus](p.b, "promote", "--failover", "--host-is-off", "--yes")
	if promoted.State != promotions.PromotionDone {
		t.Fatalf("promotion: %+v", promoted)
	}
	dsn = p.on[p.b].DSN("postgres")
	if n := l.read(t, dsn); n < l.rows() {
		t.Errorf("%d rows of %d that were acknowledged", n, l.rows())
	}
	p.b.eventually("commits wait for the bucket", armed(dsn))
}
