package runner

import (
	"context"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/requests"
)

// Inbox is where a Runner hears what the machine is to be told. It is safe for concurrent
// use.
type Inbox struct {
	events  chan input
	wakeups chan struct{}
	stopped chan struct{} // closed when the loop has ended
}

// input is one event for the machine.
type input struct {
	ev    ha.Event
	taken chan struct{} // closed once its effects are under way; may be nil
}

// NewInbox is that of a Runner that is still to be made.
func NewInbox() *Inbox {
	return &Inbox{events: make(chan input), wakeups: make(chan struct{}, 1), stopped: make(chan struct{})}
}

// Post hands an event to the loop, unless that has ended.
func (b *Inbox) Post(ev ha.Event) {
	select {
	case b.events <- input{ev: ev}:
	case <-b.stopped:
	}
}

// Wake says that a notification has come. It never blocks: of many that come at once the
// machine hears one.
func (b *Inbox) Wake() {
	select {
	case b.wakeups <- struct{}{}:
	default:
	}
}

// Hand hands an event over, and returns once what the machine wants done at once is
// under way. It is requests.ErrStopped when nobody hears it any more.
func (b *Inbox) Hand(ctx context.Context, ev ha.Event) error {
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

// Stopped is closed when nobody hears any more.
func (b *Inbox) Stopped() <-chan struct{} { return b.stopped }
