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

// pass waits until it is open.
func (g *gate) pass(ctx context.Context) error {
	return g.through(ctx, func() error { return nil })
}

// through does something short while it is open: it does not shut meanwhile.
func (g *gate) through(ctx context.Context, do func() error) error {
	for {
		opened, err := g.try(do)
		if opened == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-opened:
		}
	}
}

// try does it if the gate is open, and otherwise returns what is closed when it opens.
func (g *gate) try(do func() error) (opened <-chan struct{}, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := g.clock.Now(); now.Mono >= g.until.Mono || now.Boot >= g.until.Boot {
		return g.opened, nil
	}
	return nil, do()
}
