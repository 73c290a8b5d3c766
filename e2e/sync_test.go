package e2e

import (
	"fmt"
	"slices"
	"testing"
)

// TestWithSyncNothingThatWasAcknowledgedIsLost: the active's host and its disk are lost
// while rows are written, and the standby has every row whose commit was acknowledged.
// Its own commits wait, too, before it is killed in turn.
func TestWithSyncNothingThatWasAcknowledgedIsLost(t *testing.T) {
	t.Parallel()
	p := newServers(t, serverSetup{more: ", sync: true"}, "host-a", "host-b")
	lost, ages := p.areKilled(*streamKills, func(active *host) {
		active.eventually("commits wait for the bucket", func() error {
			if is := answer(t, p.on[active].DSN("postgres"), "SELECT coalesce(string_agg(sync_state, ''), '') FROM pg_stat_replication WHERE application_name = 'understudy_db'"); is != "sync" {
				return fmt.Errorf("the shipper is %q", is)
			}
			return nil
		})
	})
	if slices.Max(lost) > 0 {
		t.Errorf("rows that were acknowledged are lost: %v; the first of them were from %v before the kills", lost, ages)
	}
	t.Logf("%d kills: rows lost %v", *streamKills, lost)
}
