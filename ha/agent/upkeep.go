package agent

import (
	"context"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/putback"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/runner"
	"github.com/understudy-ha/understudy/ha/shared"
	"github.com/understudy-ha/understudy/ha/work"
)

// clusterView is what this instance knows of its cluster: an upkeep.Cluster.
type clusterView struct {
	state   *runner.State
	configs *shared.Configs
}

// View implements upkeep.Cluster.
func (c clusterView) View() ha.Status { return c.state.View() }

// Config implements upkeep.Cluster.
func (c clusterView) Config() (string, *ha.Config) { return c.configs.Current() }

// ConfigWith implements upkeep.Cluster.
func (c clusterView) ConfigWith(ctx context.Context, digest string) (*ha.Config, error) {
	return c.configs.With(ctx, digest)
}

// member is this instance as its cluster knows it: a membership.Instance.
type member struct {
	clusterView
	record func() ha.Instance
}

// Record implements membership.Instance.
func (m member) Record() ha.Instance { return m.record() }

// standbys are those of the cluster: an upkeep.Standbys.
type standbys struct {
	table  func() []report.InstanceStatus
	cached *work.Cached
}

// Caching implements upkeep.Standbys.
func (s standbys) Caching(id string) (n int) {
	for _, i := range s.table() {
		if i.Role == ha.RoleStandby && slices.Contains(i.Cached, id) {
			n++
		}
	}
	return n
}

// HasCached implements upkeep.Standbys.
func (s standbys) HasCached(id string) bool { return s.cached.Has(id) }

// standbys are those that the table of instances has.
func newStandbys(a *Agent) standbys {
	return standbys{func() []report.InstanceStatus { return a.table.all(a.state.View()) }, a.cached}
}

// Recovery is the way out of a bucket that was put back.
func (a *Agent) Recovery() *putback.Recovery { return a.recovery }

// missedByActive are the packs that the active's record says are missing.
func missedByActive(a *Agent) (names []string, known bool) {
	h := a.state.View().Head
	if h == nil {
		return nil, false
	}
	rec := a.records.Reading().Rows[h.Active.Name].Record
	if rec == nil {
		return nil, false
	}
	return rec.Missing, true
}

// keepPacks looks after the packs, once the bucket may be used.
func (a *Agent) keepPacks(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-a.admission.Admitted():
	}
	return a.packs.Run(ctx)
}

// keepUp has a part do a turn whenever one is due, once the bucket may be used under
// this instance's name, until ctx is done.
func keepUp(ctx context.Context, admitted <-chan struct{}, turn func(context.Context) time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-admitted:
	}
	for {
		if err := wait(ctx, turn(ctx)); err != nil {
			return err
		}
	}
}
