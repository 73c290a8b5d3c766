package shipping

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/event"
)

// patience has the commits of a source wait for the bucket (sync), and ends that while the
// bucket does not answer, where an active may go on without it. It ends it for no other
// reason: not because somebody has taken the lease, nor because a stream was ended. What
// commits then is what a successor may not have.
type patience struct {
	cfg  *Config
	name string
	of   source.Synced
	most time.Duration // that commits wait

	mu    sync.Mutex
	state waiting
	since time.Duration // since when something waits, by the monotonic clock
	waits bool
}

// waiting is what is known of whether commits wait.
type waiting int

const (
	unknown waiting = iota // an earlier process may have had them wait
	armed
	lifted
)

// newPatience is nil where commits are not to wait.
func newPatience(cfg *Config, name string, from any) *patience {
	of, ok := from.(source.Synced)
	if !ok {
		return nil
	}
	wanted, most := of.Sync()
	if !wanted {
		return nil
	}
	return &patience{cfg: cfg, name: name, of: of, most: most}
}

// confirmed follows up on a confirmation of all that was shipped: the bucket answers.
func (p *patience) confirmed(ctx context.Context) error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waits = false
	if p.state == armed {
		return nil
	}
	if err := p.of.Arm(ctx); err != nil {
		return err
	}
	p.state = armed
	p.cfg.Log.Note(ctx, event.Info, kind, "commits of "+p.name+" wait for the bucket from now on", nil)
	p.cfg.Log.TroubleOver(ctx, kind, p.key(), "commits of "+p.name+" wait for the bucket again")
	return nil
}

// wait notes that something waits to be confirmed.
func (p *patience) wait() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.waits {
		p.waits, p.since = true, p.cfg.Clock.Now().Mono
	}
}

// answered notes that the bucket answers, and that nothing can be confirmed yet.
func (p *patience) answered() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waits = false
}

// key is that of the trouble while commits do not wait.
func (p *patience) key() string { return p.name + " sync" }

// patienceEvery is how often it is looked whether commits have waited too long.
const patienceEvery = 250 * time.Millisecond

// watch looks until ctx is done.
func (p *patience) watch(ctx context.Context) {
	for clock.Wait(ctx, patienceEvery) == nil {
		p.look(ctx)
	}
}

// look ends the wait of commits that has lasted too long.
func (p *patience) look(ctx context.Context) {
	if err := p.lift(ctx); err != nil && ctx.Err() == nil {
		p.cfg.Log.Trouble(ctx, kind, p.key(), fmt.Sprintf("commits of %s wait for a bucket that does not answer, and cannot be told to go on: %v", p.name, err))
	}
}

func (p *patience) lift(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == lifted || !p.waits || p.most == 0 || p.cfg.Clock.Now().Mono-p.since < p.most || !p.cfg.MayLift() {
		return nil
	}
	did, err := p.of.Disarm(ctx)
	if err != nil {
		return err
	}
	if p.state = lifted; !did {
		return nil
	}
	p.cfg.Log.Trouble(ctx, kind, p.key(), fmt.Sprintf("commits of %s do not wait for the bucket, which has not answered for %v: a failover now may lose what is committed", p.name, p.most))
	return nil
}

// inherited are the patiences of a process that ships nothing yet, for the bucket has been
// away since it began: commits wait that an earlier process had wait.
type inherited map[source.Source]*patience

// watchInherited looks until ctx is done.
func (s *Shipping) watchInherited(ctx context.Context) {
	all := make(inherited)
	for clock.Wait(ctx, patienceEvery) == nil {
		if !s.cfg.Unheard() {
			clear(all) // what is shipped from now on has patience of its own
			continue
		}
		all.look(ctx, &s.cfg)
	}
}

func (all inherited) look(ctx context.Context, cfg *Config) {
	now := cfg.Sources()
	maps.DeleteFunc(all, func(src source.Source, _ *patience) bool { return !slices.Contains(now, src) })
	for _, src := range now {
		p, is := all[src]
		if !is {
			p = newPatience(cfg, src.Name(), src)
			all[src] = p
		}
		if p == nil {
			continue
		}
		p.wait()
		p.look(ctx)
	}
}
