package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/understudy-ha/understudy/backup/environ"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/ha/agent"
)

// instance is all that the settings and the YAML file say of this instance, as
// an agent takes it. It opens the bucket, and nothing in it.
func (a *app) instance(ctx context.Context) (agent.Config, *settings.File, error) {
	c, err := a.set.File(keepOutput)
	if err := errors.Join(a.set.NeedInstance(), a.set.NeedBucket(), err); err != nil {
		return agent.Config{}, nil, err
	}
	cfg, err := a.member(ctx)
	if err != nil {
		return cfg, nil, err
	}
	cfg.Sources, cfg.Hooks, cfg.Rehearsal, cfg.Federation, cfg.Step = c.Sources, c.Hooks, c.Rehearsal, c.Prometheus, step
	cfg.Hooks.Env, cfg.KeepOutput = environ.WithoutSecrets(childEnviron()), keepOutput
	cfg.Supervised = a.runsApp
	cfg.AppVersion = c.Version.Read(cfg.Hooks.Env)
	trust, err := trusted(a.set.TLSCA)
	if err != nil {
		return cfg, nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = trust
	cfg.HTTP = &http.Client{Transport: transport}
	return cfg, c, nil
}

// member is the part of instance that needs no YAML file.
func (a *app) member(ctx context.Context) (agent.Config, error) {
	if err := a.set.NeedInstance(); err != nil {
		return agent.Config{}, err
	}
	if err := a.set.NeedBucket(); err != nil {
		return agent.Config{}, err
	}
	ring, err := a.set.Ring()
	if err != nil {
		return agent.Config{}, err
	}
	store, err := openBucket(ctx, a.set, a.logger())
	if err != nil {
		return agent.Config{}, err
	}
	return agent.Config{
		Store: store, Lifecycle: store.lifecycle, Ring: ring, DataDir: a.set.DataDir,
		Instance: a.set.Instance, URL: a.set.URL, Version: version(), Poll: a.set.Poll,
		Logger: a.logger(),
	}, nil
}
