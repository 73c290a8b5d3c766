package shipping

import (
	"context"
	"fmt"
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
	armed bool
	since time.Duration // since when something waits, by the monotonic clock
	waits bool
}

// newPatience is nil where commits are not to wait.
func newPatience(cfg *Config, name string, from source.Streamer) *patience {
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
	if p.armed {
		return nil
	}
	if err := p.of.Arm(ctx); err != nil {
		return err
	}
	p.armed = true
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

// key is that of the trouble while commits do not wait.
func (p *patience) key() string { return p.name + " sync" }

// patienceEvery is how often it is looked whether commits have waited too long.
const patienceEvery = 250 * time.Millisecond

// watch looks until ctx is done.
func (p *patience) watch(ctx context.Context) {
	for clock.Wait(ctx, patienceEvery) == nil {
		if err := p.look(ctx); err != nil && ctx.Err() == nil {
			p.cfg.Log.Trouble(ctx, kind, p.key(), fmt.Sprintf("commits of %s wait for a bucket that does not answer, and cannot be told to go on: %v", p.name, err))
		}
	}
}

func (p *patience) look(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.armed || !p.waits || p.most == 0 || p.cfg.Clock.Now().Mono-p.since < p.most || !p.cfg.MayLift() {
		return nil
	}
	if err := p.of.Disarm(ctx); err != nil {
		return err
	}
	p.armed = false
	p.cfg.Log.Trouble(ctx, kind, p.key(), fmt.Sprintf("commits of %s do not wait for the bucket, which has not answered for %v: a failover now may lose what is committed", p.name, p.most))
	return nil
}
