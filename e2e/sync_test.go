package e2e

import (
	"fmt"
	"os"
	"testing"
)

// TestWithSyncNothingThatWasAcknowledgedIsLost: the active's host and its disk are lost
// while rows are written, and the standby has every row whose commit was acknowledged.
// Its own commits wait, too, once its stream goes on.
func TestWithSyncNothingThatWasAcknowledgedIsLost(t *testing.T) {
	t.Parallel()
	p := newServers(t, serverSetup{more: ", sync: true"}, "host-a", "host-b")
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
	var d diary
	end := d.write(t, dsn)
	p.b.follows()
	d.grows(t, 200)
	at := p.crashes(p.a)
	end()
	if err := os.RemoveAll(p.on[p.a].Data()); err != nil {
		t.Fatal(err)
	}
	p.b.promotes("--failover", "--host-is-off")
	dsn = p.on[p.b].DSN("postgres")
	if lost, age := d.goesOn(t, dsn, at); lost > 0 {
		t.Errorf("%d rows that were acknowledged are lost, the first of them from %v before", lost, age)
	}
	p.b.eventually("commits wait for the bucket", armed(dsn))
}
