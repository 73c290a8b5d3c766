// Package instance makes of settings and file what an agent takes, and knows whether
// this host is a member of the bucket's cluster already.
package instance

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/understudy-ha/understudy/backup/environ"
	"github.com/understudy-ha/understudy/backup/outlet"
	"github.com/understudy-ha/understudy/cmd/understudy/agentclient"
	"github.com/understudy-ha/understudy/cmd/understudy/buckets"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/cmd/understudy/systemd"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/agent"
)

// Maker makes the configuration of this host's instance.
type Maker struct {
	Set     *settings.Host
	Log     *slog.Logger
	Version string // of this program
	// KeepOutput reads what is printed by what a hook has left running.
	KeepOutput outlet.Collector
	// Step is told of each durable step; see agent.Config.
	Step func(point string)
	// RunsApp says that the agent of this host runs the application (understudy exec).
	RunsApp bool
}

// Config is all that the settings and the YAML file say of this instance, as
// an agent takes it. It opens the bucket, and nothing in it.
func (m Maker) Config(ctx context.Context) (agent.Config, *settings.File, error) {
	c, err := m.Set.File(m.KeepOutput)
	if err := errors.Join(m.Set.NeedInstance(), m.Set.NeedBucket(), err); err != nil {
		return agent.Config{}, nil, err
	}
	cfg, err := m.Member(ctx)
	if err != nil {
		return cfg, nil, err
	}
	cfg.Sources, cfg.Hooks, cfg.Rehearsal, cfg.ApplyEvery, cfg.Federation, cfg.Step = c.Sources, c.Hooks, c.Rehearsal, c.ApplyEvery, c.Prometheus, m.Step
	cfg.Hooks.Env, cfg.KeepOutput = environ.WithoutSecrets(systemd.ChildEnviron()), m.KeepOutput
	cfg.Supervised = m.RunsApp
	cfg.AppVersion = c.Version.Read(cfg.Hooks.Env)
	trust, err := agentclient.Trusted(m.Set.TLSCA)
	if err != nil {
		return cfg, nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = trust
	cfg.HTTP = &http.Client{Transport: transport}
	return cfg, c, nil
}

// Member is the part of Config that needs no YAML file.
func (m Maker) Member(ctx context.Context) (agent.Config, error) {
	if err := m.Set.NeedInstance(); err != nil {
		return agent.Config{}, err
	}
	if err := m.Set.NeedBucket(); err != nil {
		return agent.Config{}, err
	}
	ring, err := m.Set.Ring()
	if err != nil {
		return agent.Config{}, err
	}
	store, err := buckets.Open(ctx, m.Set, m.Log)
	if err != nil {
		return agent.Config{}, err
	}
	return agent.Config{
		Store: store, Lifecycle: store.Lifecycle, Ring: ring, DataDir: m.Set.DataDir,
		Instance: m.Set.Instance, URL: m.Set.URL, Version: m.Version, Poll: m.Set.Poll,
		Logger: m.Log,
	}, nil
}

// SharedAtFirst is what instances share at first: the defaults, with a TTL that
// fits a long poll interval.
func SharedAtFirst(cfg agent.Config) ha.Config {
	c := ha.DefaultConfig()
	c.Fencing.TTL = max(c.Fencing.TTL, ha.Duration(3*cfg.Poll)+c.Fencing.StopTimeout+c.Fencing.Margin)
	if cfg.URL != "" {
		c.Instances = []ha.Member{{Name: cfg.Instance, URL: cfg.URL}}
	}
	return c
}
