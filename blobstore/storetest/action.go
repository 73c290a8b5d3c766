package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/understudy-ha/understudy/blobstore"
)

// Fail fails a call before it does anything, with an error of the kind.
func Fail(kind error) Action {
	return func(_ context.Context, c Call, _ func(context.Context) error) error { return c.fail(kind) }
}

// LoseAnswer lets a call do its work and then fails it, as a connection does
// that breaks before the answer. A conditional put fails with
// ErrUnknownOutcome, anything else with ErrUnavailable.
func LoseAnswer() Action {
	return func(ctx context.Context, c Call, do func(context.Context) error) error {
		_ = do(ctx) // nobody learns what came of it
		return c.lost()
	}
}

// Wait holds a call until the test lets it go on, or the call's context ends.
func Wait() (Action, *Gate) {
	gate := newGate()
	return func(ctx context.Context, c Call, do func(context.Context) error) error {
		gate.arrive()
		select {
		case <-gate.open:
			return do(ctx)
		case <-ctx.Done():
			return c.fail(blobstore.ErrUnavailable, ctx.Err())
		}
	}, gate
}

// Delay fails a call at once, as LoseAnswer does, while its work is yet to be
// done: the test decides when, by Land.
func Delay() (Action, *Held) {
	held := &Held{arrived: make(chan struct{})}
	return func(_ context.Context, c Call, do func(context.Context) error) error {
		held.hold(do)
		return c.lost()
	}, held
}

// ShortBody makes a Get's body break off with an error after n bytes.
func ShortBody(n int64) Action {
	return func(ctx context.Context, c Call, do func(context.Context) error) error {
		if c.body != nil {
			c.body.cutAt = n
		}
		return do(ctx)
	}
}

// CorruptBody flips a bit of the n-th byte of a Get's body, counted from 0.
func CorruptBody(n int64) Action {
	return func(ctx context.Context, c Call, do func(context.Context) error) error {
		if c.body != nil {
			c.body.flipAt = n
		}
		return do(ctx)
	}
}

// Then runs f, after the call's work is done and before its caller knows:
// the moment for a crash, or for somebody else to act.
func Then(f func(err error)) Action {
	return func(ctx context.Context, _ Call, do func(context.Context) error) error {
		err := do(ctx)
		f(err)
		return err
	}
}

func (c Call) lost() error {
	if c.Op == Conditional {
		return c.fail(blobstore.ErrUnknownOutcome)
	}
	return c.fail(blobstore.ErrUnavailable)
}

func (c Call) fail(kind error, cause ...error) error {
	op := c.Op
	if op == Conditional {
		op = Put
	}
	err := ErrInjected
	if len(cause) > 0 {
		err = fmt.Errorf("%w: %w", ErrInjected, cause[0])
	}
	return fail(string(op), c.Key, kind, err)
}

// Gate is where calls wait.
type Gate struct {
	arrived, open chan struct{}
	once, letOnce sync.Once
}

func newGate() *Gate {
	return &Gate{arrived: make(chan struct{}), open: make(chan struct{})}
}

func (g *Gate) arrive() { g.once.Do(func() { close(g.arrived) }) }

// Arrived is closed when the first call waits.
func (g *Gate) Arrived() <-chan struct{} { return g.arrived }

// Open lets all calls go on, now and later.
func (g *Gate) Open() { g.letOnce.Do(func() { close(g.open) }) }

// Held is work that is still to be done.
type Held struct {
	arrived chan struct{}
	once    sync.Once

	mu   sync.Mutex
	work []func(context.Context) error
}

func (h *Held) hold(do func(context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.once.Do(func() { close(h.arrived) })
	h.work = append(h.work, do)
}

// Arrived is closed when the first call's work is held.
func (h *Held) Arrived() <-chan struct{} { return h.arrived }

// Land does the work that has been held longest, and returns what came of it;
// ErrPrecondition, for instance, when somebody else was quicker.
func (h *Held) Land(ctx context.Context) error {
	h.mu.Lock()
	if len(h.work) == 0 {
		h.mu.Unlock()
		return errors.New("land a held call: none is held")
	}
	do := h.work[0]
	h.work = h.work[1:]
	h.mu.Unlock()
	return do(ctx)
}

// faultyBody is a body that breaks off or lies.
type faultyBody struct {
	io.ReadCloser
	fault bodyFault
	at    int64
}

func (b *faultyBody) Read(p []byte) (int, error) {
	if cut := b.fault.cutAt; cut >= 0 {
		if b.at >= cut {
			return 0, fmt.Errorf("%w: body breaks off: %w", ErrInjected, io.ErrUnexpectedEOF)
		}
		p = p[:min(int64(len(p)), cut-b.at)]
	}
	n, err := b.ReadCloser.Read(p)
	if i := b.fault.flipAt - b.at; b.fault.flipAt >= 0 && 0 <= i && i < int64(n) {
		p[i] ^= 1
	}
	b.at += int64(n)
	return n, err
}
