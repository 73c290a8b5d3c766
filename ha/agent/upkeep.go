package agent

import (
	"context"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/putback"
	"github.com/understudy-ha/understudy/ha/upkeep"
	"github.com/understudy-ha/understudy/restore"
)

// known is this instance as the parts that work for it see it.
type known struct{ a *Agent }

// View implements upkeep.Cluster.
func (k known) View() ha.Status { return k.a.state.View() }

// Config implements upkeep.Cluster.
func (k known) Config() (string, *ha.Config) { return k.a.configs.Current() }

// ConfigWith implements upkeep.Cluster.
func (k known) ConfigWith(ctx context.Context, digest string) (*ha.Config, error) {
	return k.a.configs.With(ctx, digest)
}

// Record implements membership.Instance.
func (k known) Record() ha.Instance { return k.a.record() }

// Caching implements upkeep.Standbys.
func (k known) Caching(id string) (n int) {
	for _, i := range k.a.instances(k.a.state.View()) {
		if i.Role == ha.RoleStandby && slices.Contains(i.Cached, id) {
			n++
		}
	}
	return n
}

// HasCached implements upkeep.Standbys.
func (k known) HasCached(id string) bool { return k.a.cached.Has(id) }

// upkeepHost is what these parts are given.
func (a *Agent) upkeepHost() upkeep.Host {
	return upkeep.Host{
		Self: a.self, Store: a.cfg.Store, Control: a.control, Chain: a.chain, Repo: a.repo, Cache: a.cache,
		Clock: a.cfg.Clock, Timeout: a.cfg.RequestTimeout, Logger: a.cfg.Logger, Cluster: known{a}, Log: a.tell,
	}
}

// openUpkeep makes the parts that look after the bucket and the cache.
func (a *Agent) openUpkeep() {
	h := a.upkeepHost()
	a.locks = upkeep.NewLocks(h)
	a.rules = upkeep.NewRules(h, a.cfg.Lifecycle, a.locks)
	a.sweeper = upkeep.NewSweeper(h, a.rules)
	a.newest = upkeep.NewNewest(h, a.rules, a.locks, known{a})
	a.scrubber = upkeep.NewScrubber(h, a.cached.List)
	a.objects = upkeep.NewObjects(h, a.rules, a.locks, a.auditLog)
	a.packs = upkeep.NewPacks(h, a.rules, a.locks, a.requests, a.missedByActive)
	a.recovery = putback.New(putback.Host{
		Store: a.cfg.Store, Control: a.control, Repo: a.repo, Cache: a.cache, Cached: a.cached.Refs, Configs: a.configs, Records: a.records,
		View: a.state.View, Survey: a.sightings.Survey, Asking: a.asking, Packs: a.packs, Log: a.tell,
		Lock: func() blobstore.Lock { return a.locks.For(a.rules.PackLife()) },
	})
	a.cache.Mended = func(ctx context.Context, m restore.Mended) {
		a.stats.CacheMended(m.Err != nil)
		a.scrubber.Mended(ctx, m)
	}
}

// Recovery is the way out of a bucket that was put back.
func (a *Agent) Recovery() *putback.Recovery { return a.recovery }

// missedByActive are the packs that the active's record says are missing.
func (a *Agent) missedByActive() (names []string, known bool) {
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

// keepUp has a part do a turn whenever one is due, once the bucket may be used.
func (a *Agent) keepUp(ctx context.Context, turn func(context.Context) time.Duration) error {
	return a.whenAdmitted(ctx, func() time.Duration { return turn(ctx) })
}

// whenAdmitted does something again and again, with the pauses that it gives,
// once the bucket may be used, until ctx is done.
func (a *Agent) whenAdmitted(ctx context.Context, do func() time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-a.admission.Admitted():
	}
	for {
		if err := wait(ctx, do()); err != nil {
			return err
		}
	}
}
