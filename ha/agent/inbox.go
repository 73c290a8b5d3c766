package agent

import (
	"context"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/requests"
)

// inbox is where the loop hears what the machine is to be told. It is safe for concurrent
// use.
type inbox struct {
	events  chan input
	stopped chan struct{} // closed when the loop has ended
}

// input is one event for the machine.
type input struct {
	ev    ha.Event
	taken chan struct{} // closed once its effects are under way; may be nil
}

func newInbox() *inbox { return &inbox{events: make(chan input), stopped: make(chan struct{})} }

// Post hands an event to the loop, unless that has ended.
func (b *inbox) Post(ev ha.Event) {
	select {
	case b.events <- input{ev: ev}:
	case <-b.stopped:
	}
}

// Hand implements requests.Machine.
func (b *inbox) Hand(ctx context.Context, ev ha.Event) error {
	in := input{ev: ev, taken: make(chan struct{})}
	select {
	case b.events <- in:
	case <-b.stopped:
		return requests.ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-in.taken:
		return nil
	case <-b.stopped:
		return requests.ErrStopped
	}
}

// Stopped implements requests.Machine.
func (b *inbox) Stopped() <-chan struct{} { return b.stopped }
