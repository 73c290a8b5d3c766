package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/event"
)

// Config is what a Supervisor is given.
type Config struct {
	Command  []string // what to run: a program, by its path or to be looked up, and its arguments
	Watchdog []string // begins the command line of a process that calls Watch with the rest of it
	Env      []string // of the command, "NAME=value" each
	Lock     string   // file that is held locked while anything of the command is left
	// Stdout and Stderr are the command's own: a file is passed on as it is.
	Stdout, Stderr io.Writer
	// Pause is how long after its end the command is started again; it doubles
	// up to MaxPause with every run that is shorter than that. 0: a second and
	// half a minute.
	Pause, MaxPause time.Duration
}

// Supervisor runs a command as an application.Supervisor.
type Supervisor struct {
	cfg   Config
	clock clock.Clock

	mu  sync.Mutex
	run *run // nil: nothing is to run, and nothing is left
}

var _ application.Supervisor = (*Supervisor)(nil)

// New makes a Supervisor, which starts nothing yet.
func New(cfg Config) *Supervisor {
	if cfg.Pause == 0 {
		cfg.Pause = time.Second
	}
	if cfg.MaxPause == 0 {
		cfg.MaxPause = 30 * time.Second
	}
	return &Supervisor{cfg: cfg, clock: clock.System()}
}

// run is what happens between a Start and a Stop: one life of the command
// after another.
type run struct {
	app     application.Run
	started chan error    // how the first life began
	stop    chan struct{} // closed by Stop
	done    chan struct{} // closed when nothing is left

	// The Supervisor's mutex guards these.
	bound    application.Bound
	stopping bool
	life     *life // nil: none
	down     error
}

// Start implements application.Supervisor.
func (s *Supervisor) Start(ctx context.Context, app application.Run) error {
	s.mu.Lock()
	if r := s.run; r != nil {
		defer s.mu.Unlock()
		if r.stopping {
			return errors.New("the application is still being stopped")
		}
		r.set(app.Bound)
		return nil
	}
	r := &run{
		app: app, bound: app.Bound,
		started: make(chan error, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	s.run = r
	s.mu.Unlock()
	go s.tend(r)
	select {
	case err := <-r.started:
		if err != nil {
			<-r.done // whoever starts it again does not find this run
		}
		return err
	case <-ctx.Done():
		s.halt(r, app.Bound.Stop)
		return ctx.Err()
	}
}

// stopGrace is how much longer than its bound Stop waits: for the kernel to
// end what was killed.
const stopGrace = 3 * time.Second

// Stop implements application.Supervisor.
func (s *Supervisor) Stop(ctx context.Context, timeout time.Duration) error {
	s.mu.Lock()
	r := s.run
	s.mu.Unlock()
	if r == nil {
		return nil
	}
	s.halt(r, timeout)
	late := time.NewTimer(timeout + stopGrace)
	defer late.Stop()
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return fmt.Errorf("processes of the application are left %v after it was told to stop; they are being killed", timeout+stopGrace)
	}
}

// halt begins to stop a run.
func (s *Supervisor) halt(r *run, timeout time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.stopping {
		return
	}
	r.set(application.Bound{Until: r.bound.Until, Stop: timeout})
	r.stopping = true
	close(r.stop)
	if r.life != nil {
		r.life.end()
	}
}

// Bind implements application.Supervisor.
func (s *Supervisor) Bind(b application.Bound) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.run; r != nil && !r.stopping {
		r.set(b)
	}
}

func (r *run) set(b application.Bound) {
	r.bound = b
	if r.life != nil {
		r.life.order(b)
	}
}

// Down implements application.Supervisor.
func (s *Supervisor) Down() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == nil {
		return nil
	}
	return s.run.down
}

// tend keeps the command running until the run is stopped.
func (s *Supervisor) tend(r *run) {
	defer close(r.done)
	defer s.forget()
	l, err := s.begin(r)
	r.started <- err
	pauses := &backoff.ExponentialBackOff{InitialInterval: s.cfg.Pause, Multiplier: 2, MaxInterval: s.cfg.MaxPause}
	pauses.Reset()
	for err == nil {
		began := s.clock.Now().Mono
		end := l.wait()
		if s.clock.Now().Mono-began >= s.cfg.MaxPause {
			pauses.Reset()
		}
		l, err = s.again(r, pauses, end)
	}
}

// again starts the command that has ended, after a pause, until that succeeds.
// It fails when the run is stopped.
func (s *Supervisor) again(r *run, pauses backoff.BackOff, why error) (*life, error) {
	for {
		pause := pauses.NextBackOff()
		s.setDown(r, nil, why)
		select {
		case <-r.stop:
			return nil, errStopped
		default:
		}
		r.app.Report(event.Alarm, fmt.Sprintf("the application is down: %v; it is started again in %v", why, pause))
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-r.stop:
			timer.Stop()
			return nil, errStopped
		}
		l, err := s.begin(r)
		switch {
		case err == nil:
			r.app.Report(event.Info, "the application was started again")
			return l, nil
		case errors.Is(err, errStopped):
			return nil, err
		}
		why = err
	}
}

var errStopped = errors.New("it was told to stop")

// begin begins a life of the command, unless the run has been stopped.
func (s *Supervisor) begin(r *run) (*life, error) {
	lock, err := s.lock(r)
	if err != nil {
		return nil, err
	}
	l, err := s.launch(r, lock)
	lock.Close()
	if err != nil {
		return nil, err
	}
	s.setDown(r, l, nil)
	if err := l.awaitStart(); err != nil {
		s.setDown(r, nil, err)
		if s.isStopped(r) {
			return nil, errStopped
		}
		return nil, err
	}
	return l, nil
}

// setDown notes which life goes on, or why none does. A life that begins in a
// run that has been stopped meanwhile ends at once.
func (s *Supervisor) setDown(r *run, l *life, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.life != nil {
		r.life.end()
	}
	r.life, r.down = l, why
	if l == nil {
		return
	}
	l.order(r.bound)
	if r.stopping {
		l.end()
	}
}

func (s *Supervisor) isStopped(r *run) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.stopping
}

func (s *Supervisor) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run = nil
}
