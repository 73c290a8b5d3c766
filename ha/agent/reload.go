package agent

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/requests"
)

// Live is the part of a Config that can change while the agent runs.
type Live struct {
	Sources    []source.Source
	Hooks      application.Hooks // Env stays as it was at the start
	AppVersion func(ctx context.Context) (string, error)
	Rehearsal  ha.RehearsalPolicy
	Federation Federation
}

// reloading is what is in force, and what is to be. It is safe for concurrent
// use.
type reloading struct {
	live atomic.Pointer[Live]

	turn sync.Mutex // whose it is to ask for a change

	mu     sync.Mutex
	wanted []source.Source // by the change that is under way
	status *report.ReloadStatus
	number int // of changes
}

// live is what is in force now.
func (a *Agent) live() *Live { return a.reloading.live.Load() }

// setup is the part of it that says how the application is run.
func (l *Live) setup() application.Setup {
	return application.Setup{Sources: l.Sources, Hooks: l.Hooks, Version: l.AppVersion}
}

// Reload puts what can change into force: hooks, the application's version, the
// rehearsal policy and federation at once, sources once nothing is under way
// that reads or replaces them, for which it waits. A later call takes the place
// of one that waits, which is then a *ha.Refusal. What the cluster's fencing does
// not allow is refused, and nothing changes.
func (a *Agent) Reload(ctx context.Context, next Live) error {
	number, sources, err := a.beginReload(ctx, next)
	if err != nil || sources == nil {
		return err
	}
	switch err = sources(); {
	case err == nil:
		a.reloaded(ctx, number, report.ReloadDone, nil)
	case !errors.Is(err, requests.ErrStopped) && ctx.Err() == nil:
		a.reloaded(ctx, number, report.ReloadFailed, err)
	}
	return err
}

// beginReload puts into force what needs no wait, and asks for the change of the
// sources, which it returns a wait for; nil: they stay. One call does so at a time, so
// that the machine hears of changes in the order in which they are numbered.
func (a *Agent) beginReload(ctx context.Context, next Live) (number int, sources func() error, err error) {
	a.reloading.turn.Lock()
	defer a.reloading.turn.Unlock()
	number, same, err := a.reloadHooks(next)
	if err != nil {
		a.RefuseReload(ctx, err)
		return 0, nil, err
	}
	a.inbox.Post(ha.UsePolicy{Rehearsal: next.Rehearsal, Unstoppable: a.unstoppable()})
	if same {
		a.reloaded(ctx, number, report.ReloadDone, nil)
		return number, nil, nil
	}
	a.reloaded(ctx, number, report.ReloadWaiting, nil)
	id, answer, asked := a.asking.Ask(ctx, func(id string) ha.Event { return ha.ChangeSources{Request: id} })
	return number, func() error {
		if asked != nil {
			return asked
		}
		_, err := a.asking.Await(ctx, id, answer)
		return err
	}, nil
}

// RefuseReload tells of a configuration file that cannot be used: what is in
// force stays.
func (a *Agent) RefuseReload(ctx context.Context, why error) {
	a.reloading.mu.Lock()
	a.reloading.number++
	number := a.reloading.number
	a.reloading.mu.Unlock()
	a.reloaded(ctx, number, report.ReloadRefused, why)
}

// reloaded notes what became of a change, unless a later one has begun.
func (a *Agent) reloaded(ctx context.Context, number int, state report.ReloadState, err error) {
	r := &a.reloading
	s := &report.ReloadStatus{State: state, Time: a.cfg.Clock.Now().Wall.UTC()}
	if err != nil {
		s.Error = err.Error()
	}
	r.mu.Lock()
	latest := r.number == number
	if latest {
		r.status = s
	}
	r.mu.Unlock()
	if !latest {
		return
	}
	switch state {
	case report.ReloadDone:
		a.tell.Note(ctx, event.Info, "reload", "the configuration file was read again and is in force", nil)
	case report.ReloadWaiting:
		a.tell.Note(ctx, event.Info, "reload", "the configuration file was read again; its sources come into force once nothing is under way", nil)
	case report.ReloadRefused:
		a.tell.Note(ctx, event.Warn, "reload", report.ReloadProblem(s), nil)
	case report.ReloadFailed:
		a.tell.Note(ctx, event.Alarm, "reload", report.ReloadProblem(s), nil)
	}
}

// reloadStatus is what became of the last change; nil when there was none.
func (a *Agent) reloadStatus() *report.ReloadStatus {
	a.reloading.mu.Lock()
	defer a.reloading.mu.Unlock()
	return a.reloading.status
}

// useSources drops what is staged of the old sources, and puts the wanted ones
// into force. Nothing else of the work lane is under way.
func (a *Agent) useSources(ctx context.Context) error {
	r := &a.reloading
	r.mu.Lock()
	wanted := r.wanted
	r.mu.Unlock()
	if err := a.stage.UseSources(ctx, wanted, a.leftovers.Clear); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	next := *a.live()
	next.Sources = wanted
	r.live.Store(&next)
	return nil
}
