package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
)

// Application is an application that the agent runs itself, rather than by
// hooks. Its methods are safe for concurrent use.
type Application interface {
	// Start starts it, and returns once it has been started. From then on it is
	// started again whenever it ends by itself, until Stop. Starting what runs
	// does nothing.
	Start(ctx context.Context, run AppRun) error
	// Stop ends it with all that it has started, and returns once nothing of it
	// is left, at the latest about when the timeout is over. When ctx ends first
	// the stop goes on. Stopping what does not run does nothing.
	Stop(ctx context.Context, timeout time.Duration) error
	// Bind replaces the bound that Start gave. It does not block.
	Bind(b AppBound)
	// Down says why the application does not run although it was started and
	// not stopped; nil when there is nothing to say.
	Down() error
}

// AppRun is how an Application is to be started.
type AppRun struct {
	Env   []string // more environment than its own, "NAME=value" each
	Bound AppBound
	// Report tells people what became of the application.
	Report func(level event.Level, text string)
}

// AppBound is how long an application may go on without another word from the
// agent: should that fall silent, the application must have begun to stop at
// Until and have stopped Stop later.
type AppBound struct {
	Until time.Duration // on the host's boot-time clock; 0: without end
	Stop  time.Duration // how long a stop may take
}

// supervise passes on for how long the application may run, and corrects the
// machine, which takes an application that it started for one that runs.
func (a *Agent) supervise(core *ha.Status, now ha.Now) {
	app := a.cfg.Application
	if app == nil {
		return
	}
	app.Bind(a.boundAt(core, now))
	if err := app.Down(); err != nil && core.App == "running" {
		core.App, core.AppError = "down", err.Error()
	}
}

// boundAt is the bound that follows from the machine's state as of now.
func (a *Agent) boundAt(core *ha.Status, now ha.Now) AppBound {
	b := AppBound{Stop: time.Duration(a.fencing().StopTimeout)}
	if core.AppUntil >= 0 {
		b.Until = now.Boot + core.AppUntil
	}
	return b
}

// appBound is the bound as of the machine's last step.
func (a *Agent) appBound() AppBound {
	core, at := a.state.ViewAt()
	return a.boundAt(&core, at)
}

// endApp ends the application with its agent.
func (a *Agent) endApp(ctx context.Context) error {
	if a.cfg.Application == nil {
		return nil
	}
	if err := a.cfg.Application.Stop(context.WithoutCancel(ctx), a.appBound().Stop); err != nil {
		return fmt.Errorf("stop the application: %w", err)
	}
	return nil
}

func (a *Agent) startApp(ctx context.Context, e ha.StartApp) error {
	env := []string{fmt.Sprintf("UNDERSTUDY_EPOCH=%d", e.Epoch), "UNDERSTUDY_BACKUP=" + e.Backup}
	if app := a.cfg.Application; app != nil {
		return app.Start(ctx, AppRun{
			Env: append(a.identity(), env...), Bound: a.appBound(),
			Report: func(level event.Level, text string) { a.tell.Note(ctx, level, "application", text, nil) },
		})
	}
	return a.runHook(ctx, "promote", a.live().Hooks.Promote, env)
}

// stopApp stops the application, or says that nothing here can.
func (a *Agent) stopApp(ctx context.Context, e ha.StopApp) ha.Done {
	if app := a.cfg.Application; app != nil {
		return failed(app.Stop(ctx, a.appBound().Stop))
	}
	h := a.live().Hooks.Demote
	if len(h.Command) == 0 {
		return ha.Done{Unstopped: true}
	}
	if h.Timeout == 0 {
		h.Timeout = time.Duration(a.fencing().StopTimeout)
	}
	return failed(a.runHook(ctx, "demote", h, []string{fmt.Sprintf("UNDERSTUDY_EPOCH=%d", e.Epoch)}))
}

// probe has the probe hook judge what is staged, and gives the end of what the
// hook printed.
func (a *Agent) probe(ctx context.Context, ref backup.Ref) (output string, err error) {
	env := []string{"UNDERSTUDY_BACKUP=" + ref.ID}
	for _, src := range a.live().Sources {
		if s, ok := src.(source.Stager); ok {
			env = append(env, "UNDERSTUDY_STAGED_"+envName(src.Name())+"="+s.Staged())
		}
	}
	h := a.live().Hooks.Probe
	if len(h.Command) == 0 {
		return a.tryHook(ctx, "probe", h, env)
	}
	err = source.Opened(ctx, a.live().Sources, func() error {
		output, err = a.tryHook(ctx, "probe", h, env)
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

// hookOf is a hook as package backup takes it: nil when there is nothing to
// do.
func (a *Agent) hookOf(name string, h Hook, env []string) func(context.Context) error {
	if len(h.Command) == 0 {
		return nil
	}
	return func(ctx context.Context) error { return a.runHook(ctx, name, h, env) }
}

func (a *Agent) runHook(ctx context.Context, name string, h Hook, env []string) error {
	output, err := a.tryHook(ctx, name, h, env)
	return withOutput(err, output)
}

func (a *Agent) tryHook(ctx context.Context, name string, h Hook, env []string) (string, error) {
	if h.Timeout == 0 {
		h.Timeout = DefaultHookTimeout
		if name == "probe" {
			h.Timeout = DefaultProbeTimeout
		}
	}
	env = append(append(a.identity(), "UNDERSTUDY_HOOK="+name), env...)
	output, err := a.cfg.hooks.run(ctx, name, h, env)
	if err != nil {
		a.stats.hookFailed(name)
	}
	return output, err
}

// identity is what every hook, and the application, is told.
func (a *Agent) identity() []string {
	return hookIdentity(a.self.Name, a.control.Cluster(), a.state.View().Role)
}

func hookIdentity(instance, cluster string, role ha.Role) []string {
	return []string{"UNDERSTUDY_INSTANCE=" + instance, "UNDERSTUDY_CLUSTER=" + cluster, "UNDERSTUDY_ROLE=" + string(role)}
}

// fencing is what is in force as far as this instance knows.
func (a *Agent) fencing() ha.Fencing {
	if h := a.state.View().Head; h != nil {
		return h.Fencing
	}
	if _, c := a.configs.current(); c != nil {
		return c.Fencing
	}
	return ha.DefaultConfig().Fencing
}
