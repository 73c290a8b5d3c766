package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
)

func (a *Agent) startApp(ctx context.Context, e ha.StartApp) error {
	return a.runHook(ctx, "promote", a.cfg.Hooks.Promote, []string{
		fmt.Sprintf("UNDERSTUDY_EPOCH=%d", e.Epoch), "UNDERSTUDY_BACKUP=" + e.Backup,
	})
}

func (a *Agent) stopApp(ctx context.Context, e ha.StopApp) error {
	h := a.cfg.Hooks.Demote
	if h.Timeout == 0 {
		h.Timeout = time.Duration(a.fencing().StopTimeout)
	}
	return a.runHook(ctx, "demote", h, []string{fmt.Sprintf("UNDERSTUDY_EPOCH=%d", e.Epoch)})
}

// probe has the probe hook judge what is staged.
func (a *Agent) probe(ctx context.Context, ref backup.Ref) error {
	env := []string{"UNDERSTUDY_BACKUP=" + ref.ID}
	for _, src := range a.cfg.Sources {
		if s, ok := src.(staged); ok {
			env = append(env, "UNDERSTUDY_STAGED_"+envName(src.Name())+"="+s.Staged())
		}
	}
	return a.runHook(ctx, "probe", a.cfg.Hooks.Probe, env)
}

// staged is a source that can say where what it has staged is to be found: a
// path, or a database's name.
type staged interface{ Staged() string }

var _ = []staged{(*source.Directory)(nil), (*source.SQLite)(nil), (*source.Postgres)(nil), (*source.Command)(nil)}

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
	if h.Timeout == 0 {
		h.Timeout = DefaultHookTimeout
		if name == "probe" {
			h.Timeout = DefaultProbeTimeout
		}
	}
	env = append([]string{
		"UNDERSTUDY_HOOK=" + name,
		"UNDERSTUDY_INSTANCE=" + a.self.Name,
		"UNDERSTUDY_CLUSTER=" + a.bucket.Cluster(),
		"UNDERSTUDY_ROLE=" + string(a.view().Role),
	}, env...)
	err := a.cfg.hooks.run(ctx, name, h, env)
	if err != nil {
		a.stats.hookFailed()
	}
	return err
}

// fencing is what is in force as far as this instance knows.
func (a *Agent) fencing() ha.Fencing {
	if h := a.view().Head; h != nil {
		return h.Fencing
	}
	if _, c := a.configs.current(); c != nil {
		return c.Fencing
	}
	return ha.DefaultConfig().Fencing
}
