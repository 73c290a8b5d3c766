package agent

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/federation"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/requests"
)

// Live is the part of a Config that can change while the agent runs.
type Live struct {
	Sources    []source.Source
	Hooks      application.Hooks // Env stays as it was at the start
	AppVersion func(ctx context.Context) (string, error)
	Rehearsal  ha.RehearsalPolicy
	ApplyEvery time.Duration
	Federation federation.Config
}

// reloadHost is the instance whose configuration file is read again.
type reloadHost struct {
	clock  clock.Clock
	tell   event.Reporter
	asking *requests.Asking
	post   func(ha.Event) // to the machine
	// allow refuses hooks that the cluster's fencing does not allow. Nobody changes the
	// fencing until release is called.
	allow       func(now, next application.Hooks) (release func(), err error)
	unstoppable func() bool // by the hooks in force
	// use puts sources into force in which nothing is staged.
	use func(ctx context.Context, sources []source.Source) error
	// used is told once they are.
	used func()
}

// Reloading is what is in force of the configuration file, and what is to be. It is safe
// for concurrent use.
type Reloading struct {
	host reloadHost
	live atomic.Pointer[Live]

	turn sync.Mutex // whose it is to ask for a change

	mu     sync.Mutex
	wanted []source.Source // by the change that is under way
	status *report.ReloadStatus
	number int // of changes
}

func newReloading(h reloadHost, live Live) *Reloading {
	r := &Reloading{host: h}
	r.live.Store(&live)
	return r
}

// Reloading puts another configuration file into force.
func (a *Agent) Reloading() *Reloading { return a.reloading }

// live is what is in force now.
func (a *Agent) live() *Live { return a.reloading.live.Load() }

// sources are those in force now.
func (r *Reloading) sources() []source.Source { return r.live.Load().Sources }

// setup is what is in force now of how the application is run.
func (r *Reloading) setup() application.Setup {
	live := r.live.Load()
	return application.Setup{Sources: live.Sources, Hooks: live.Hooks, Version: live.AppVersion}
}

// Reload puts what can change into force: hooks, the application's version, the
// rehearsal policy and federation at once, sources once nothing is under way
// that reads or replaces them, for which it waits. A later call takes the place
// of one that waits, which is then a *ha.Refusal. What the cluster's fencing does
// not allow is refused, and nothing changes.
func (r *Reloading) Reload(ctx context.Context, next Live) error {
	number, sources, err := r.begin(ctx, next)
	if err != nil || sources == nil {
		return err
	}
	switch err = sources(); {
	case err == nil:
		r.tell(ctx, number, report.ReloadDone, nil)
	case !errors.Is(err, requests.ErrStopped) && ctx.Err() == nil:
		r.tell(ctx, number, report.ReloadFailed, err)
	}
	return err
}

// begin puts into force what needs no wait, and asks for the change of the
// sources, which it returns a wait for; nil: they stay. One call does so at a time, so
// that the machine hears of changes in the order in which they are numbered.
func (r *Reloading) begin(ctx context.Context, next Live) (number int, sources func() error, err error) {
	r.turn.Lock()
	defer r.turn.Unlock()
	number, same, err := r.atOnce(next)
	if err != nil {
		r.Refuse(ctx, err)
		return 0, nil, err
	}
	r.host.post(ha.UsePolicy{Rehearsal: next.Rehearsal, Unstoppable: r.host.unstoppable()})
	if same {
		r.tell(ctx, number, report.ReloadDone, nil)
		return number, nil, nil
	}
	r.tell(ctx, number, report.ReloadWaiting, nil)
	id, answer, asked := r.host.asking.Ask(ctx, func(id string) ha.Event { return ha.ChangeSources{Request: id} })
	return number, func() error {
		if asked != nil {
			return asked
		}
		_, err := r.host.asking.Await(ctx, id, answer)
		return err
	}, nil
}

// Refuse tells of a configuration file that cannot be used: what is in
// force stays.
func (r *Reloading) Refuse(ctx context.Context, why error) {
	r.mu.Lock()
	r.number++
	number := r.number
	r.mu.Unlock()
	r.tell(ctx, number, report.ReloadRefused, why)
}

// tell notes what became of a change, unless a later one has begun.
func (r *Reloading) tell(ctx context.Context, number int, state report.ReloadState, err error) {
	s := &report.ReloadStatus{State: state, Time: r.host.clock.Now().Wall.UTC()}
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
		r.host.tell.Note(ctx, event.Info, "reload", "the configuration file was read again and is in force", nil)
	case report.ReloadWaiting:
		r.host.tell.Note(ctx, event.Info, "reload", "the configuration file was read again; its sources come into force once nothing is under way", nil)
	case report.ReloadRefused:
		r.host.tell.Note(ctx, event.Warn, "reload", report.ReloadProblem(s), nil)
	case report.ReloadFailed:
		r.host.tell.Note(ctx, event.Alarm, "reload", report.ReloadProblem(s), nil)
	}
}

// last is what became of the last change; nil when there was none.
func (r *Reloading) last() *report.ReloadStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// useSources drops what is staged of the old sources, and puts the wanted ones
// into force. Nothing else of the work lane is under way.
func (r *Reloading) useSources(ctx context.Context) error {
	r.mu.Lock()
	wanted := r.wanted
	r.mu.Unlock()
	if err := r.host.use(ctx, wanted); err != nil {
		return err
	}
	r.mu.Lock()
	next := *r.live.Load()
	next.Sources = wanted
	r.live.Store(&next)
	r.mu.Unlock()
	r.host.used()
	return nil
}

// atOnce puts what can change at once into force. It refuses hooks that would
// make strict fencing untrue; a change of the fencing waits for it, and it for that.
func (r *Reloading) atOnce(next Live) (number int, same bool, err error) {
	release, err := r.host.allow(r.live.Load().Hooks, next.Hooks)
	if err != nil {
		return 0, false, err
	}
	defer release()
	r.mu.Lock()
	defer r.mu.Unlock()
	now := *r.live.Load()
	atOnce := next
	atOnce.Sources, atOnce.Hooks.Env = now.Sources, now.Hooks.Env
	r.live.Store(&atOnce)
	r.number++
	r.wanted = next.Sources
	return r.number, slices.Equal(next.Sources, now.Sources), nil
}

// startOver has the sources staged and rehearsed afresh, once nothing else is
// under way.
func (r *Reloading) startOver(ctx context.Context) error {
	r.mu.Lock()
	if r.status == nil || r.status.State != report.ReloadWaiting {
		r.wanted = r.live.Load().Sources
	}
	r.mu.Unlock()
	id, _, err := r.host.asking.Ask(ctx, func(id string) ha.Event { return ha.ChangeSources{Request: id} })
	if err == nil {
		r.host.asking.Forget(id)
	}
	return err
}
