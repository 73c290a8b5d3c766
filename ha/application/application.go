package application

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
)

// Config is what an Application is given.
type Config struct {
	Instance, Cluster string     // names, for hooks
	Supervisor        Supervisor // nil: hooks start and stop the application
	Runner            Runner     // of hooks
	State             State
	Log               event.Reporter
	InForce           func() Setup
	// Shared is the shared configuration in force; nil while it is not known.
	Shared func() (digest string, c *ha.Config)
	// Failed is told of each run of a hook that failed.
	Failed func(hook string)
}

// Setup is what the configuration file says of the application. It changes while the
// agent runs.
type Setup struct {
	Sources []source.Source
	Hooks   Hooks
	// Version tells the application's version; nil: it has none.
	Version func(ctx context.Context) (string, error)
}

// State is the machine's state as of its last step, and when that was.
type State interface {
	ViewAt() (ha.Status, ha.Now)
}

// Application is this host's application as its agent starts, stops and judges it. It
// is safe for concurrent use.
type Application struct{ cfg Config }

// New makes one of what it is given.
func New(cfg Config) *Application { return &Application{cfg} }

// Supervise passes on for how long the application may run, and corrects the
// machine, which takes an application that it started for one that runs.
func (a *Application) Supervise(core *ha.Status, now ha.Now) {
	s := a.cfg.Supervisor
	if s == nil {
		return
	}
	s.Bind(a.boundAt(core, now))
	if err := s.Down(); err != nil && core.App == "running" {
		core.App, core.AppError = "down", err.Error()
	}
}

// boundAt is the bound that follows from the machine's state as of now.
func (a *Application) boundAt(core *ha.Status, now ha.Now) Bound {
	b := Bound{Stop: a.stopTimeout(core)}
	if core.AppUntil >= 0 {
		b.Until = now.Boot + core.AppUntil
	}
	return b
}

// Bound is the bound as of the machine's last step.
func (a *Application) Bound() Bound {
	core, at := a.cfg.State.ViewAt()
	return a.boundAt(&core, at)
}

// stopTimeout is what is in force as far as this instance knows.
func (a *Application) stopTimeout(core *ha.Status) time.Duration {
	if h := core.Head; h != nil {
		return time.Duration(h.Fencing.StopTimeout)
	}
	if _, c := a.cfg.Shared(); c != nil {
		return time.Duration(c.Fencing.StopTimeout)
	}
	return time.Duration(ha.DefaultConfig().Fencing.StopTimeout)
}

// End ends a supervised application with its agent. One that hooks have started runs on.
func (a *Application) End(ctx context.Context) error {
	if a.cfg.Supervisor == nil {
		return nil
	}
	if err := a.cfg.Supervisor.Stop(context.WithoutCancel(ctx), a.Bound().Stop); err != nil {
		return fmt.Errorf("stop the application: %w", err)
	}
	return nil
}

// Start starts it, and before it what of its sources is a program of its own.
func (a *Application) Start(ctx context.Context, e ha.StartApp) error {
	if err := a.startServers(ctx, e.Epoch); err != nil {
		return err
	}
	env := []string{fmt.Sprintf("UNDERSTUDY_EPOCH=%d", e.Epoch), "UNDERSTUDY_BACKUP=" + e.Backup}
	if s := a.cfg.Supervisor; s != nil {
		return s.Start(ctx, Run{
			Env: append(a.identity(), env...), Bound: a.Bound(),
			Report: func(level event.Level, text string) { a.cfg.Log.Note(ctx, level, "application", text, nil) },
		})
	}
	return a.run(ctx, "promote", a.cfg.InForce().Hooks.Promote, env)
}

// startServers has the servers of sources run and take writes.
func (a *Application) startServers(ctx context.Context, epoch uint64) error {
	for _, src := range a.cfg.InForce().Sources {
		if s, ok := src.(source.Served); ok {
			if err := s.Start(ctx, epoch); err != nil {
				return fmt.Errorf("start the server of source %s: %w", src.Name(), err)
			}
		}
	}
	return nil
}

// Checkpoint has the servers of sources write what they hold, all at once. What keeps one from
// it is told, and keeps nobody from stopping it.
func (a *Application) Checkpoint(ctx context.Context, e ha.Checkpoint) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.Most, fmt.Errorf("it took longer than %v", e.Most))
	defer cancel()
	var all sync.WaitGroup
	for _, src := range a.cfg.InForce().Sources {
		if c, ok := src.(source.Checkpointer); ok {
			all.Go(func() {
				if err := c.Checkpoint(ctx); err != nil {
					a.cfg.Log.Note(ctx, event.Info, "handover", fmt.Sprintf("the server of source %s may take longer to stop: %v", src.Name(), err), nil)
				}
			})
		}
	}
	all.Wait()
}

// StopServers stops the servers of sources: what they hold is kept, and nobody is to
// write to it.
func (a *Application) StopServers(ctx context.Context) error {
	var errs []error
	for _, src := range a.cfg.InForce().Sources {
		if s, ok := src.(source.Served); ok {
			if err := s.Stop(ctx); err != nil {
				errs = append(errs, fmt.Errorf("stop the server of source %s: %w", src.Name(), err))
			}
		}
	}
	return errors.Join(errs...)
}

// Stop stops the application and then, where that is asked for, the servers of sources.
// unstoppable says that nothing here can stop the application.
func (a *Application) Stop(ctx context.Context, e ha.StopApp) (unstoppable bool, err error) {
	unstoppable, err = a.stop(ctx, e)
	if !e.Servers {
		return unstoppable, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.Bound().Stop)
	defer cancel()
	return unstoppable, errors.Join(err, a.StopServers(ctx)) // whoever could not be stopped cannot write any more
}

func (a *Application) stop(ctx context.Context, e ha.StopApp) (unstoppable bool, err error) {
	if s := a.cfg.Supervisor; s != nil {
		return false, s.Stop(ctx, a.Bound().Stop)
	}
	h := a.cfg.InForce().Hooks.Demote
	if len(h.Command) == 0 {
		return true, nil
	}
	if h.Timeout == 0 {
		h.Timeout = a.Bound().Stop
	}
	return false, a.run(ctx, "demote", h, []string{fmt.Sprintf("UNDERSTUDY_EPOCH=%d", e.Epoch)})
}

// Probe has the probe hook judge what is staged, and returns the end of what the
// hook printed.
func (a *Application) Probe(ctx context.Context, ref backup.Ref) (output string, err error) {
	env := []string{"UNDERSTUDY_BACKUP=" + ref.ID}
	now := a.cfg.InForce()
	for _, src := range now.Sources {
		if s, ok := src.(source.Stager); ok {
			env = append(env, "UNDERSTUDY_STAGED_"+envName(src.Name())+"="+s.Staged())
		}
	}
	if len(now.Hooks.Probe.Command) == 0 {
		return a.try(ctx, "probe", now.Hooks.Probe, env)
	}
	err = source.Opened(ctx, now.Sources, func() error {
		output, err = a.try(ctx, "probe", now.Hooks.Probe, env)
		return err
	})
	return output, err
}

// envName makes a source's name part of a variable's: capital letters, digits
// and underscores.
func envName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, strings.ToUpper(name))
}

// AroundBackup returns the hooks that run before and after a backup; nil where there is
// nothing to do.
func (a *Application) AroundBackup(e ha.MakeBackup) (before, after func(context.Context) error) {
	env := []string{fmt.Sprintf("UNDERSTUDY_EPOCH=%d", e.Epoch), "UNDERSTUDY_TRIGGER=" + string(e.Trigger)}
	hooks := a.cfg.InForce().Hooks
	return a.running("pre_backup", hooks.PreBackup, env), a.running("post_backup", hooks.PostBackup, env)
}

func (a *Application) running(name string, h Hook, env []string) func(context.Context) error {
	if len(h.Command) == 0 {
		return nil
	}
	return func(ctx context.Context) error { return a.run(ctx, name, h, env) }
}

func (a *Application) run(ctx context.Context, name string, h Hook, env []string) error {
	output, err := a.try(ctx, name, h, env)
	return WithOutput(err, output)
}

func (a *Application) try(ctx context.Context, name string, h Hook, env []string) (string, error) {
	if h.Timeout == 0 {
		h.Timeout = DefaultHookTimeout
		if name == "probe" {
			h.Timeout = DefaultProbeTimeout
		}
	}
	env = append(append(a.identity(), "UNDERSTUDY_HOOK="+name), env...)
	output, err := a.cfg.Runner.Run(ctx, name, h, env)
	if err != nil {
		a.cfg.Failed(name)
	}
	return output, err
}

// identity is what every hook, and the application, is told.
func (a *Application) identity() []string {
	core, _ := a.cfg.State.ViewAt()
	return hookIdentity(a.cfg.Instance, a.cfg.Cluster, core.Role)
}

// hookIdentity is what every hook is told of its instance.
func hookIdentity(instance, cluster string, role ha.Role) []string {
	return []string{"UNDERSTUDY_INSTANCE=" + instance, "UNDERSTUDY_CLUSTER=" + cluster, "UNDERSTUDY_ROLE=" + string(role)}
}

// versionTimeout is how long the application may take to tell its version.
const versionTimeout = 30 * time.Second

// Version asks for the application's version, for a bounded time; "" where
// it has none.
func (a *Application) Version(ctx context.Context) (string, error) {
	ask := a.cfg.InForce().Version
	if ask == nil {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	return ask(ctx)
}

// KnownVersion is the application's version, as far as it can be found out: a
// backup without it is better than none.
func (a *Application) KnownVersion(ctx context.Context) string {
	v, err := a.Version(ctx)
	if err != nil {
		a.cfg.Log.Note(ctx, event.Warn, "version", "the application's version is not known: "+err.Error(), nil)
	}
	return v
}
