package application

import (
	"context"
	"time"

	"github.com/understudy-ha/understudy/ha/event"
)

// Supervisor runs an application instead of the promote and demote hooks. Its methods
// are safe for concurrent use.
type Supervisor interface {
	// Start starts it, and returns once it has been started. From then on it is
	// started again whenever it ends by itself, until Stop. Starting what runs
	// does nothing.
	Start(ctx context.Context, run Run) error
	// Stop ends it with all that it has started, and returns once nothing of it
	// is left, at the latest about when the timeout is over. When ctx ends first
	// the stop goes on. Stopping what does not run does nothing.
	Stop(ctx context.Context, timeout time.Duration) error
	// Bind replaces the bound that Start gave. It does not block.
	Bind(b Bound)
	// Down says why the application does not run although it was started and
	// not stopped; nil when there is nothing to say.
	Down() error
}

// Run is how a Supervisor is to start the application.
type Run struct {
	Env   []string // more environment than its own, "NAME=value" each
	Bound Bound
	// Report tells people what became of the application.
	Report func(level event.Level, text string)
}

// Bound is how long an application may go on without another word from the
// agent: should that fall silent, the application must have begun to stop at
// Until and have stopped Stop later.
type Bound struct {
	Until time.Duration // on the host's boot-time clock; 0: without end
	Stop  time.Duration // how long a stop may take
}
