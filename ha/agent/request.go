package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/membership"
)

// ErrStopped is what a request gets when the agent stops before it is done.
var ErrStopped = errors.New("the agent is not running")

// ask hands a request to the machine. The answer comes on the channel; when
// ask returns it is there already if the machine refused at once.
func (a *Agent) ask(ctx context.Context, of func(request string) ha.Event) (string, <-chan ha.Answer, error) {
	id, err := membership.RandomHex(a.cfg.Random, 8)
	if err != nil {
		return "", nil, err
	}
	answer := make(chan ha.Answer, 1)
	a.mu.Lock()
	a.answers[id] = answer
	a.mu.Unlock()
	in := input{ev: of(id), taken: make(chan struct{})}
	if _, now := in.ev.(ha.StartAnyway); !now {
		a.awaitLook(ctx)
	}
	select {
	case a.inbox <- in:
	case <-a.stopped:
		err = ErrStopped
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		a.forget(id)
		return "", nil, err
	}
	select {
	case <-in.taken:
		return id, answer, nil
	case <-a.stopped:
		return "", nil, ErrStopped
	}
}

// awaitLook waits until the head has been read once, and claimed by an active, or
// could not be: whoever asks an agent that has just been started is not refused for
// that.
func (a *Agent) awaitLook(ctx context.Context) {
	for {
		changed := a.Changed()
		core := a.state.View()
		claiming := core.Role == ha.RoleActive && !core.Leading && core.Refused == "" && core.Bucket == "ok"
		if core.Bucket != ha.NotRead && !claiming {
			return
		}
		select {
		case <-changed:
		case <-a.stopped:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (a *Agent) forget(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.answers, id)
}

// answer hands an answer to whoever asked.
func (a *Agent) answer(e ha.Answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ch := a.answers[e.Request]; ch != nil {
		ch <- e // it has room for the one answer
		delete(a.answers, e.Request)
	}
}

// await waits for an answer.
func (a *Agent) await(ctx context.Context, id string, answer <-chan ha.Answer) (*backup.Ref, error) {
	select {
	case e := <-answer:
		return e.Ref, e.Refused
	case <-ctx.Done():
		a.forget(id)
		return nil, ctx.Err()
	case <-a.stopped:
		select {
		case e := <-answer:
			return e.Ref, e.Refused
		default:
			return nil, ErrStopped
		}
	}
}

// request asks and waits for the answer.
func (a *Agent) request(ctx context.Context, of func(request string) ha.Event) (*backup.Ref, error) {
	id, answer, err := a.ask(ctx, of)
	if err != nil {
		return nil, err
	}
	return a.await(ctx, id, answer)
}

// Backup makes a one-off backup and waits until it is published. Requests that
// come while a backup is being made share the next one. On an instance that is
// not the active it is a *ha.Refusal that names the active.
func (a *Agent) Backup(ctx context.Context, trigger backup.Trigger, reason string) (backup.Ref, error) {
	ref, err := a.request(ctx, backupRequest(ctx, trigger, reason))
	if err != nil {
		return backup.Ref{}, fmt.Errorf("make backup: %w", err)
	}
	return *ref, nil
}

// BackupSoon is Backup without the wait: it returns once the request is taken.
func (a *Agent) BackupSoon(ctx context.Context, trigger backup.Trigger, reason string) error {
	id, answer, err := a.ask(ctx, backupRequest(ctx, trigger, reason))
	if err != nil {
		return fmt.Errorf("make backup: %w", err)
	}
	defer a.forget(id)
	select {
	case e := <-answer: // refused at once
		if e.Refused != nil {
			return fmt.Errorf("make backup: %w", e.Refused)
		}
	default:
	}
	return nil
}

func backupRequest(ctx context.Context, trigger backup.Trigger, reason string) func(string) ha.Event {
	if trigger == "" {
		trigger = backup.Requested
	}
	by := event.Actor(ctx)
	return func(id string) ha.Event {
		return ha.RequestBackup{Request: id, Trigger: trigger, By: by, Reason: reason}
	}
}

// onlyActive refuses what is done on the active alone, and names it.
func (a *Agent) onlyActive(what string) error {
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

// StartAnyway starts the application of an active that cannot reach the
// bucket, on an operator's word. It is recorded.
func (a *Agent) StartAnyway(ctx context.Context) error {
	by := event.Actor(ctx)
	_, err := a.request(ctx, func(id string) ha.Event { return ha.StartAnyway{Request: id, By: by} })
	return err
}
