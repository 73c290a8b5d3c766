package requests

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/membership"
)

// ErrStopped is what a request gets when the agent stops before it is done.
var ErrStopped = errors.New("the agent is not running")

// Machine is who is asked, in its loop.
type Machine interface {
	// Hand hands an event over, and returns once what the machine wants done at once is
	// under way. It is ErrStopped when nobody hears it any more.
	Hand(ctx context.Context, ev ha.Event) error
	// Stopped is closed when nobody hears any more.
	Stopped() <-chan struct{}
}

// State is the machine's state as of its last step.
type State interface {
	View() ha.Status
	// Changed is closed when View has changed.
	Changed() <-chan struct{}
}

// Asking hands requests to the machine and waits for answers. It is safe for concurrent
// use.
type Asking struct {
	machine Machine
	state   State
	random  io.Reader

	mu      sync.Mutex
	answers map[string]chan ha.Answer
}

// NewAsking asks this machine. random is for the ids of requests.
func NewAsking(m Machine, s State, random io.Reader) *Asking {
	return &Asking{machine: m, state: s, random: random, answers: make(map[string]chan ha.Answer)}
}

// Ask hands a request to the machine. The answer comes on the channel; when
// Ask returns it is there already if the machine refused at once.
func (a *Asking) Ask(ctx context.Context, of func(request string) ha.Event) (string, <-chan ha.Answer, error) {
	id, err := membership.RandomHex(a.random, 8)
	if err != nil {
		return "", nil, err
	}
	answer := a.Expect(id)
	ev := of(id)
	if _, now := ev.(ha.StartAnyway); !now {
		a.AwaitLook(ctx)
	}
	if err := a.machine.Hand(ctx, ev); err != nil {
		a.Forget(id)
		return "", nil, err
	}
	return id, answer, nil
}

// Expect is where the answer to a request comes.
func (a *Asking) Expect(id string) <-chan ha.Answer {
	answer := make(chan ha.Answer, 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[id] = answer
	return answer
}

// AwaitLook waits until the head has been read once, and claimed by an active, or
// could not be: whoever asks an agent that has just been started is not refused for
// that.
func (a *Asking) AwaitLook(ctx context.Context) {
	for {
		changed := a.state.Changed()
		core := a.state.View()
		claiming := core.Role == ha.RoleActive && !core.Leading && core.Refused == "" && core.Bucket == "ok"
		if core.Bucket != ha.NotRead && !claiming {
			return
		}
		select {
		case <-changed:
		case <-a.machine.Stopped():
			return
		case <-ctx.Done():
			return
		}
	}
}

// Forget drops a request: nobody waits for its answer any more.
func (a *Asking) Forget(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.answers, id)
}

// Answer hands an answer to whoever asked.
func (a *Asking) Answer(e ha.Answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ch := a.answers[e.Request]; ch != nil {
		ch <- e // it has room for the one answer
		delete(a.answers, e.Request)
	}
}

// Await waits for an answer.
func (a *Asking) Await(ctx context.Context, id string, answer <-chan ha.Answer) (*backup.Ref, error) {
	select {
	case e := <-answer:
		return e.Ref, e.Refused
	case <-ctx.Done():
		a.Forget(id)
		return nil, ctx.Err()
	case <-a.machine.Stopped():
		select {
		case e := <-answer:
			return e.Ref, e.Refused
		default:
			return nil, ErrStopped
		}
	}
}

// Do asks and waits for the answer.
func (a *Asking) Do(ctx context.Context, of func(request string) ha.Event) (*backup.Ref, error) {
	id, answer, err := a.Ask(ctx, of)
	if err != nil {
		return nil, err
	}
	return a.Await(ctx, id, answer)
}

// OnlyActive refuses what is done on the active alone, and names it.
func (a *Asking) OnlyActive(what string) error {
	core := a.state.View()
	if core.Role == ha.RoleActive && core.Refused == "" {
		return nil
	}
	active := "the active"
	if core.Head != nil {
		active = core.Head.Active.Name
		if u := core.Head.Active.URL; u != "" {
			active += " (" + u + ")"
		}
	}
	return &ha.Refusal{Reason: fmt.Sprintf("this instance is not the active: %s on %s", what, active)}
}
