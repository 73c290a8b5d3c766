package application

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
)

// StandInConfig is what a StandIn is given.
type StandInConfig struct {
	Folder string // the data folder, for people
	// Journal reads the journal there, and writes nothing.
	Journal func() (j ha.Journal, found bool, err error)
	// Incarnation makes one.
	Incarnation func() (string, error)
	Demote      Hook
	Runner      Runner
	Unstoppable bool // nothing on this host can stop the application but people
	Clock       clock.Clock
	Random      io.Reader
	Poll        time.Duration
	Logger      *slog.Logger
}

// StandIn does for an agent that cannot begin what must not wait: it stops the
//
//	The disk of a data folder that hangs may let the journal be read though
//
// no write ends. The stand-in goes by that journal, with a machine of its own that
// hears nothing of the bucket: all that this one can want done is to stop the
// application, of a standby, and of an active whose time is over under strict fencing.
type StandIn struct {
	cfg    StandInConfig
	cancel context.CancelFunc
	done   chan struct{}
}

const (
	standInAfter = 2 * time.Second // how long an agent may take to begin
	standInEvery = time.Second     // between two looks at the clock
)

// NewStandIn begins to wait for an agent to begin.
func NewStandIn(ctx context.Context, cfg StandInConfig) *StandIn {
	ctx, cancel := context.WithCancel(ctx)
	s := &StandIn{cfg: cfg, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		if clock.Wait(ctx, standInAfter) == nil {
			s.run(ctx)
		}
	}()
	return s
}

// End ends the stand-in, for the agent has begun, or never will. A hook under way is
// waited for.
func (s *StandIn) End() {
	s.cancel()
	<-s.done
}

func (s *StandIn) run(ctx context.Context) {
	log := s.cfg.Logger
	log.ErrorContext(ctx, "the agent cannot begin yet: the disk of the data folder does not answer, or is slow; meanwhile the application is stopped once it must be", "folder", s.cfg.Folder)
	j, found, err := s.cfg.Journal()
	if err != nil || !found {
		log.ErrorContext(ctx, "whether the application must be stopped is not known: there is no journal that can be read", "error", err)
		return
	}
	incarnation, err := s.cfg.Incarnation()
	if err != nil {
		log.ErrorContext(ctx, err.Error())
		return
	}
	m := ha.New(ha.Params{
		Cluster: j.Cluster, Self: ha.Peer{Name: j.Instance, Incarnation: incarnation}, Boot: s.cfg.Clock.Boot(), Poll: s.cfg.Poll,
		Random: s.cfg.Random, Fencing: ha.DefaultConfig().Fencing, Unstoppable: s.cfg.Unstoppable,
	}, j)
	var next ha.Event = ha.Tick{}
	for {
		stop, must := stopOf(m.Handle(s.cfg.Clock.Now(), next))
		next = ha.Tick{}
		switch {
		case must:
			next = s.stop(ctx, &j, stop)
		case clock.Wait(ctx, standInEvery) != nil:
			return
		}
	}
}

// stopOf is the one effect that a stand-in carries out.
func stopOf(effects []ha.Effect) (ha.StopApp, bool) {
	for _, e := range effects {
		if stop, ok := e.(ha.StopApp); ok {
			return stop, true
		}
	}
	return ha.StopApp{}, false
}

// stop runs the demote hook. Once begun it is not ended with the stand-in.
func (s *StandIn) stop(ctx context.Context, j *ha.Journal, e ha.StopApp) ha.Done {
	h := s.cfg.Demote
	if len(h.Command) == 0 {
		return ha.Done{ID: e.ID, Unstopped: s.cfg.Unstoppable} // exec takes its application along
	}
	if h.Timeout == 0 {
		h.Timeout = longestStop(j.Fencing)
	}
	env := append(hookIdentity(j.Instance, j.Cluster, j.Role), "UNDERSTUDY_HOOK=demote", fmt.Sprintf("UNDERSTUDY_EPOCH=%d", e.Epoch))
	output, err := s.cfg.Runner.Run(context.WithoutCancel(ctx), "demote", h, env)
	if err = WithOutput(err, output); err != nil {
		s.cfg.Logger.ErrorContext(ctx, "the application could not be stopped (tried again)", "error", err)
	} else {
		s.cfg.Logger.WarnContext(ctx, "the application is stopped, and the agent has not begun yet")
	}
	if err != nil {
		return ha.Done{ID: e.ID, Outcome: ha.Failed, Err: err}
	}
	return ha.Done{ID: e.ID}
}

// longestStop is the longest stop time-out that may be in force.
func longestStop(all []ha.Fencing) (d time.Duration) {
	for _, f := range all {
		d = max(d, time.Duration(f.StopTimeout))
	}
	return cmp.Or(d, time.Duration(ha.DefaultConfig().Fencing.StopTimeout))
}
