package watch

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
)

// Aftermath remembers what the newest backup lacks, and how the present epoch
// began. It is for people. It is safe for concurrent use.
type Aftermath struct {
	state  State
	chain  Chain
	clock  clock.Clock
	log    event.Reporter
	isBack func(t *control.Takeover) bool

	mu       sync.Mutex
	newest   string // the backup that entries and lacks are of
	entries  []source.Entry
	lacks    []string
	takeover *control.Takeover

	// The goroutine's own.
	at   time.Duration // monotonic, when the bucket was last looked at
	soon int           // how often it was looked at soon again in this epoch
}

const (
	aftermathPause = 2 * time.Second // between two looks whether there is something new
	aftermathEvery = time.Minute     // between two looks at the bucket while there is not
	aftermathSoon  = 5 * time.Second // while the old active is back, and has not told yet what it kept
	soonMost       = 20              // of these
)

// Chain are the cluster's backups, in the bucket.
type Chain interface {
	Manifest(ctx context.Context, ref backup.Ref) (*backup.Manifest, error)
	// Takeover is the promotion that began an epoch.
	Takeover(ctx context.Context, epoch uint64) (*control.Takeover, error)
}

// NewAftermath has not looked yet. isBack reports whether the old active's record says
// that it knows of the epoch.
func NewAftermath(s State, chain Chain, c clock.Clock, log event.Reporter, isBack func(t *control.Takeover) bool) *Aftermath {
	return &Aftermath{state: s, chain: chain, clock: c, log: log, isBack: isBack}
}

// Read returns what is known that fits the head.
func (f *Aftermath) Read(h *ha.Head) (lacks []string, takeover *control.Takeover) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h != nil && h.Newest != nil && h.Newest.ID == f.newest {
		lacks = f.lacks
	}
	if h != nil && f.takeover != nil && h.Epoch == f.takeover.Epoch {
		takeover = f.takeover
	}
	return lacks, takeover
}

// Newest are the sources in the newest backup of a head; nil: they are not known yet.
func (f *Aftermath) Newest(h *ha.Head) []source.Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h == nil || h.Newest == nil || h.Newest.ID != f.newest {
		return nil
	}
	return f.entries
}

// Turn looks at every new backup, at every new epoch, and now and then. It returns when
// to look again.
func (f *Aftermath) Turn(ctx context.Context) time.Duration {
	f.look(ctx)
	return aftermathPause
}

func (f *Aftermath) look(ctx context.Context) {
	h, now := f.state.View().Head, f.clock.Now().Mono
	if h == nil {
		return
	}
	f.mu.Lock()
	newest, known, t := f.newest, f.takeover != nil && f.takeover.Epoch == h.Epoch, f.takeover
	f.mu.Unlock()
	every := aftermathEvery
	if !known {
		f.soon = 0
	} else if f.soon < soonMost && !t.Told() && f.isBack(t) {
		every = aftermathSoon
	}
	if h.Newest != nil && h.Newest.ID != newest {
		// One that cannot be read is told of where it is needed.
		if m, err := f.chain.Manifest(ctx, *h.Newest); err == nil {
			f.mu.Lock()
			f.newest, f.entries, f.lacks = h.Newest.ID, m.Sources, LacksOf(m)
			f.mu.Unlock()
			f.log.Changed()
		}
	}
	if h.Epoch < 2 || known && f.at != 0 && now-f.at < every {
		return
	}
	if every == aftermathSoon {
		f.soon++
	}
	found, err := f.chain.Takeover(ctx, h.Epoch)
	if err != nil {
		return // the machine tells of a bucket that does not answer
	}
	if found != nil {
		found.Bring(h)
	}
	f.at = now
	f.mu.Lock()
	f.takeover = found
	f.mu.Unlock()
	f.log.Changed()
}

// LacksOf lists what a backup could not keep.
func LacksOf(m *backup.Manifest) []string {
	all := slices.Clone(m.Warnings)
	for _, e := range m.Sources {
		for _, w := range e.Warnings {
			all = append(all, e.Name+": "+w)
		}
	}
	return all
}
