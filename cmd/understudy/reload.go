package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"

	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/ha/agent"
)

// reloader reads the YAML file again while the agent runs.
type reloader struct {
	set     *settings.Host
	runsApp bool // understudy exec: the agent runs the application, and no hook does
	agent   *agent.Agent
	now     *settings.File // as it was last read
	env     []string
}

// run reads the file at every hang-up. What comes of it the agent tells, by an
// event and in its status. A change that waits keeps none that comes after it
// from being read.
func (r *reloader) run(ctx context.Context, hangups <-chan os.Signal) error {
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-hangups:
			next, err := r.load()
			if err != nil {
				r.agent.Reloading().Refuse(ctx, err)
				continue
			}
			waiting.Go(func() { _ = r.agent.Reloading().Reload(ctx, next) }) // it has told
		}
	}
}

// load reads and checks the file. Sources that it declares as before are the
// same as before.
func (r *reloader) load() (agent.Live, error) {
	c, err := r.set.File(keepOutput)
	if err == nil && r.runsApp {
		err = noHooksBesideExec(c.Hooks, r.set.Config)
	}
	if err != nil {
		return agent.Live{}, errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if c.DeclaresSources(r.now) {
		c.Sources = r.now.Sources
	}
	r.now = c
	return agent.Live{
		Sources: c.Sources, Hooks: c.Hooks, AppVersion: c.Version.Read(r.env), Rehearsal: c.Rehearsal, ApplyEvery: c.ApplyEvery, Federation: c.Prometheus,
	}, nil
}
