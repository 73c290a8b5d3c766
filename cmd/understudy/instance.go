package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup/environ"
	"github.com/understudy-ha/understudy/backup/outlet"
	"github.com/understudy-ha/understudy/ha/agent"
)

// instance is all that the settings and the YAML file say of this instance, as
// an agent takes it. It opens the bucket, and nothing in it.
func (a *app) instance(ctx context.Context) (agent.Config, *config, error) {
	c, err := loadConfig(a.set.Config, a.set.DataDir)
	if err := errors.Join(a.set.needInstance(), a.set.needBucket(), err); err != nil {
		return agent.Config{}, nil, err
	}
	cfg, err := a.member(ctx)
	if err != nil {
		return cfg, nil, err
	}
	cfg.Sources, cfg.Hooks, cfg.Rehearsal, cfg.Federation, cfg.Step = c.Sources, c.Hooks, c.Rehearsal, c.Prometheus, step
	cfg.Hooks.Env, cfg.KeepOutput = environ.WithoutSecrets(childEnviron()), keepOutput
	cfg.Supervised = a.runsApp
	cfg.AppVersion = c.Version.read(cfg.Hooks.Env)
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
	if err := a.set.needInstance(); err != nil {
		return agent.Config{}, err
	}
	if err := a.set.needBucket(); err != nil {
		return agent.Config{}, err
	}
	ring, err := openRing(a.set)
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

// read gives what tells the application's version; nil where nothing does.
func (v versionSpec) read(env []string) func(context.Context) (string, error) {
	switch {
	case v.Literal != "":
		return func(context.Context) (string, error) { return v.Literal, nil }
	case len(v.Command.Command) > 0:
		return func(ctx context.Context) (string, error) { return firstLine(ctx, v.Command, env) }
	}
	return nil
}

// maxVersion is how much of what tells a version is read, in bytes.
const maxVersion = 1 << 10

// firstLine runs a command and gives the first line that it prints.
func firstLine(ctx context.Context, h agent.Hook, env []string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, h.Timeout, fmt.Errorf("it took longer than %v", h.Timeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, h.Command[0], h.Command[1:]...)
	cmd.Env = env
	cmd.WaitDelay = time.Second
	stdout, stderr := &outlet.Head{Max: maxVersion}, &outlet.Tail{Max: maxVersion}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("run %s: %w: %s", h.Command[0], err, stderr)
	}
	line := bufio.NewScanner(bytes.NewReader(stdout.Bytes()))
	line.Scan()
	return strings.TrimSpace(line.Text()), nil
}
