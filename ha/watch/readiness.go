package watch

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/event"
)

// State is the machine's state as of its last step.
type State interface{ View() ha.Status }

// ReadinessConfig is what a Readiness is given.
type ReadinessConfig struct {
	State State
	Chain Chain
	Clock clock.Clock
	Log   event.Reporter
	// InForce is another value once the configuration file has changed.
	InForce func() any
	// Look looks what this host lacks for a promotion to a backup, and what else is to be
	// known of that.
	Look func(ctx context.Context, m *backup.Manifest) (lacks, notes []string)
}

// Readiness is what a standby's host was found to lack for a promotion to the
// newest backup. It is safe for concurrent use.
type Readiness struct {
	cfg ReadinessConfig

	mu       sync.Mutex
	blockers []string
	notes    []string // what is to be known, and keeps nothing from working
	looked   bool     // the host was looked at, and blockers is what it lacks

	// The goroutine's own.
	newest  string
	inForce any
	at      time.Duration // monotonic, when the host was looked at last; 0: never
}

const (
	readyPause  = 10 * time.Second // between two looks whether it is time to look
	readySoon   = 2 * time.Second  // while the host was not looked at yet
	readyEvery  = time.Minute      // a host that has everything
	readyAgain  = 30 * time.Second // one that lacks something
	readyWithin = time.Minute      // what a look may take
)

// NewReadiness has not looked yet.
func NewReadiness(cfg ReadinessConfig) *Readiness { return &Readiness{cfg: cfg} }

// Read returns what the host lacks, and whether it was looked at and lacks
// nothing.
func (r *Readiness) Read() (blockers []string, ready bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.blockers, r.looked && len(r.blockers) == 0
}

// Known is what else is to be known of a promotion here.
func (r *Readiness) Known() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.notes
}

// set notes what a look has found, or that there was none, and reports whether
// that is something new.
func (r *Readiness) set(looked bool, blockers, notes []string) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed = r.looked != looked || !slices.Equal(r.blockers, blockers) || !slices.Equal(r.notes, notes)
	r.looked, r.blockers, r.notes = looked, blockers, notes
	return changed
}

// Turn looks, on a standby, whether a promotion would work: at every new backup, when
// the configuration file has changed, and now and then. It returns when to look again.
func (r *Readiness) Turn(ctx context.Context) time.Duration {
	r.look(ctx)
	if _, ready := r.Read(); !ready && r.at == 0 {
		return readySoon // it was not looked at yet
	}
	return readyPause
}

func (r *Readiness) look(ctx context.Context) {
	core, now := r.cfg.State.View(), r.cfg.Clock.Now().Mono
	if core.Role != ha.RoleStandby || core.Promotion != nil || core.Demotion != nil || core.Head == nil || core.Head.Newest == nil {
		if r.at = 0; r.set(false, nil, nil) {
			r.cfg.Log.Changed()
		}
		return
	}
	every := readyEvery
	if lacks, _ := r.Read(); len(lacks) > 0 {
		every = readyAgain
	}
	ref, inForce := *core.Head.Newest, r.cfg.InForce()
	if r.at != 0 && r.newest == ref.ID && r.inForce == inForce && now-r.at < every {
		return
	}
	m, err := r.cfg.Chain.Manifest(ctx, ref)
	if err != nil {
		return // the machine tells of a bucket that does not answer, and of a backup that is damaged
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	lacks, notes := r.cfg.Look(ctx, m)
	r.newest, r.inForce, r.at = ref.ID, inForce, now
	if r.set(true, lacks, notes) {
		r.cfg.Log.Changed() // the record says it to the others at once
	}
}
