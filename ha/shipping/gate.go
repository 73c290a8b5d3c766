package shipping

import (
	"context"
	"sync"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
)

// gate is open while a head of this process was confirmed within its TTL. Both clocks
// count: a host that was suspended has a monotonic clock that stood still.
type gate struct {
	clock clock.Clock

	mu     sync.Mutex
	until  ha.Now
	opened chan struct{} // closed when until moves
}

func newGate(c clock.Clock) *gate { return &gate{clock: c, opened: make(chan struct{})} }

// open opens it until then.
func (g *gate) open(until ha.Now) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until = until
	close(g.opened)
	g.opened = make(chan struct{})
}

// shut shuts it at once.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until = ha.Now{}
}

// pass waits until it is open. It may shut as soon as pass has returned: nothing that can
// hang is done under its lock, which the machine's loop takes.
func (g *gate) pass(ctx context.Context) error {
	for {
		shut := g.isShut()
		if shut == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-shut:
		}
	}
}

// isShut returns what is closed when until moves; nil: it is open.
func (g *gate) isShut() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := g.clock.Now(); now.Mono >= g.until.Mono || now.Boot >= g.until.Boot {
		return g.opened
	}
	return nil
}
