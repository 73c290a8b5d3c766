package runner

import (
	"context"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/event"
)

// Config is what a Runner is given.
type Config struct {
	Machine Machine
	Inbox   *Inbox
	Clock   clock.Clock
	State   *State
	Disk    Disk
	Log     event.Reporter
	Steps   Steps
	// Failed is told of each step that has failed.
	Failed func(step string)
	// Work says how an effect is carried out. One that takes no time is carried out
	// when it returns, which is a Work without Do.
	Work func(ctx context.Context, e ha.Effect) Work
	// Correct corrects the machine's state before others see it.
	Correct func(core *ha.Status, now ha.Now)
	// After is called when the effects of a step are under way.
	After func(ctx context.Context, now ha.Now)
	// Leave is called in the loop when ctx is done.
	Leave func(ctx context.Context)
	Beat  func() // with each turn; may be nil
}

// Machine is the protocol; *ha.Machine is one.
type Machine interface {
	Handle(now ha.Now, ev ha.Event) []ha.Effect
	Status() ha.Status
	Wake() (due time.Duration, ok bool)
}

// Disk is where the journal is kept.
type Disk interface {
	SaveJournal(j ha.Journal) error
	// Path names it for people.
	Path() string
	// Hang is told that a write to it does not end.
	Hang()
}

// Work is how an effect is carried out.
type Work struct {
	Step string // the durable step that it is; "": none
	ID   uint64
	Do   func(ctx context.Context) ha.Done
}

// Runner feeds a machine. Run it once; Go is safe for concurrent use.
type Runner struct {
	cfg     Config
	effects sync.WaitGroup

	// The loop's own.
	running map[uint64]context.CancelFunc // effects under way
	journal journaling
}

// New leaves the machine's state as of now for others.
func New(cfg Config, now ha.Now) *Runner {
	r := &Runner{
		cfg: cfg, running: make(map[uint64]context.CancelFunc),
		journal: journaling{done: make(chan error, 1)},
	}
	r.show(now)
	return r
}

// wakeEvery is the longest that the loop waits before it looks at the clocks:
// timers stand still while a host is suspended.
const wakeEvery = time.Second

// Run tells the machine one event after another, this one first, until ctx is done. Then
// nobody hears what comes into the inbox: whoever posts, and is waited for, goes on.
func (r *Runner) Run(ctx context.Context, first ha.Event) error {
	defer r.endJournal()
	defer close(r.cfg.Inbox.stopped)
	r.until(ctx, first, nil)
	r.cfg.Leave(ctx)
	return ctx.Err()
}

// Until goes on, with this event, until said or ctx is done. It is for Config.Leave.
func (r *Runner) Until(ctx context.Context, ev ha.Event, said <-chan ha.Answer) {
	r.until(ctx, ev, said)
}

func (r *Runner) until(ctx context.Context, ev ha.Event, said <-chan ha.Answer) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	wakeups := r.cfg.Inbox.wakeups
	if said != nil {
		wakeups = nil // it ends
	}
	next := input{ev: ev}
	for {
		r.step(ctx, next)
		r.sleep(timer)
		next = input{ev: ha.Tick{}}
		select {
		case <-ctx.Done():
			return
		case <-said:
			return
		case next = <-r.cfg.Inbox.events:
		case err := <-r.journal.done:
			r.journaled(ctx, err)
		case <-wakeups:
			next = input{ev: ha.Notified{}}
		case <-timer.C:
		}
	}
}

// End waits, after Run, for what is under way.
func (r *Runner) End() { r.effects.Wait() }

// step tells the machine one thing and sets what it wants going.
func (r *Runner) step(ctx context.Context, in input) {
	if r.cfg.Beat != nil {
		r.cfg.Beat()
	}
	if d, ok := in.ev.(ha.Done); ok {
		delete(r.running, d.ID)
	}
	now := r.cfg.Clock.Now()
	effects := r.cfg.Machine.Handle(now, in.ev)
	r.show(now)
	r.obey(ctx, r.journal.barrier.Add(now.Mono, effects...)...)
	r.watchJournal(ctx, now.Mono)
	r.cfg.After(ctx, now)
	if in.taken != nil {
		close(in.taken)
	}
}

// show leaves the machine's state for everybody else.
func (r *Runner) show(now ha.Now) {
	core := r.cfg.Machine.Status()
	r.cfg.Correct(&core, now)
	r.cfg.State.set(core, now)
}

// sleep sets the timer to when the machine wants to be woken, or to when the
// clocks are to be looked at.
func (r *Runner) sleep(timer *time.Timer) {
	wait := wakeEvery
	if due, ok := r.cfg.Machine.Wake(); ok {
		wait = min(wait, max(due, time.Millisecond))
	}
	timer.Reset(wait)
}

// Go runs something that End waits for.
func (r *Runner) Go(do func()) { r.effects.Go(do) }

// carryOut sets one effect going.
func (r *Runner) carryOut(ctx context.Context, e ha.Effect) {
	switch e := e.(type) {
	case ha.Save:
		r.save(e)
	case ha.Cancel:
		if cancel := r.running[e.ID]; cancel != nil {
			cancel()
		}
	default:
		if w := r.cfg.Work(ctx, e); w.Do != nil {
			r.start(ctx, w)
		}
	}
}

// start carries out an effect that takes time, and hands its Done to the loop.
func (r *Runner) start(ctx context.Context, w Work) {
	ctx, cancel := context.WithCancel(ctx)
	r.running[w.ID] = cancel
	r.effects.Go(func() {
		defer cancel()
		d := r.do(ctx, w)
		d.ID = w.ID
		r.cfg.Inbox.Post(d)
	})
}

// do carries out an effect; one that is a durable step is told and counted as that.
func (r *Runner) do(ctx context.Context, w Work) (d ha.Done) {
	if w.Step == "" {
		return w.Do(ctx)
	}
	_ = r.cfg.Steps.Do(w.Step, func() error { // d has it
		d = w.Do(ctx)
		return d.Err
	})
	if (d.Outcome == ha.Failed || d.Outcome == ha.Unknown) && ctx.Err() == nil {
		r.cfg.Failed(w.Step)
	}
	return d
}
