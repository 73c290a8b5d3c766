package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/upkeep"
)

// configs knows the shared configuration: the one in force, in memory and on
// disk, and any other by its digest. It is safe for concurrent use.
type configs struct {
	control *control.Store
	dir     *datadir.Dir

	keeping sync.Mutex // held while the disk is written, which may take for ever
	mu      sync.Mutex
	now     datadir.SavedConfig // in force, as far as is known
	loading bool
	failed  string // digest of the one whose failure to load was said
}

func newConfigs(b *control.Store, dir *datadir.Dir) *configs {
	return &configs{control: b, dir: dir, now: dir.LoadConfig()}
}

// current gives the configuration in force and its digest; nil while none is
// known.
func (c *configs) current() (string, *ha.Config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now.Digest, c.now.Config
}

// get gives the configuration with this digest, verified. "" is the one in
// force.
func (c *configs) get(ctx context.Context, digest string) (*ha.Config, error) {
	known, config := c.current()
	if config != nil && (digest == "" || digest == known) {
		return config, nil
	}
	if digest == "" {
		return nil, errors.New("the shared configuration is not known yet")
	}
	return c.control.ConfigWith(ctx, digest)
}

// use keeps a configuration that is in force, on disk too.
func (c *configs) use(digest string, config *ha.Config) error {
	c.mu.Lock()
	c.now = datadir.SavedConfig{Digest: digest, Config: config}
	c.mu.Unlock()
	c.keeping.Lock()
	defer c.keeping.Unlock()
	return c.dir.SaveConfig(c.current())
}

// put writes a configuration to the bucket, unless it is in force already, and
// returns its digest.
func (c *configs) put(ctx context.Context, config *ha.Config) (string, error) {
	digest, err := control.DigestOf(config)
	if known, _ := c.current(); err != nil || digest == known {
		return digest, err
	}
	return c.control.PutConfig(ctx, config)
}

// claim reports true when a configuration is to be loaded, and keeps others
// from loading at the same time until release is called.
func (c *configs) claim(digest string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if digest == "" || digest == c.now.Digest || c.loading {
		return false
	}
	c.loading = true
	return true
}

func (c *configs) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loading = false
}

// firstFailure reports whether this is the first time that the configuration
// could not be loaded.
func (c *configs) firstFailure(digest string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.failed != digest
	c.failed = digest
	return first
}

// configPause is the time between two attempts to load a configuration.
const configPause = 2 * time.Second

// followConfig loads the configuration that the head names, if that is another
// than the one that is known, and tells the machine. The loop's.
func (a *Agent) followConfig(ctx context.Context) {
	h := a.state.View().Head
	if h == nil {
		return
	}
	known, config := a.configs.current()
	if config != nil && known == h.Config && a.told != h.Config {
		a.told = h.Config
		told := ha.UseConfig{Frequency: config.Frequency}
		a.runner.Go(func() { a.inbox.Post(told) })
	}
	if a.configs.claim(h.Config) {
		a.runner.Go(func() { a.loadConfig(ctx, h.Config) })
	}
}

// loadConfig loads the configuration in force. A failed attempt is repeated by
// a later step.
func (a *Agent) loadConfig(ctx context.Context, digest string) {
	defer a.configs.release()
	config, err := a.configs.get(ctx, digest)
	if err == nil {
		err = a.configs.use(digest, config)
	}
	if err == nil {
		a.tell.TroubleOver(ctx, upkeep.ConfigKind, "load", "the shared configuration is loaded")
		a.inbox.Post(ha.Tick{})
		return
	}
	switch {
	case errors.Is(err, blobstore.ErrNotFound), errors.Is(err, control.ErrUnverified):
		a.tell.Trouble(ctx, upkeep.ConfigKind, "load", fmt.Sprintf("the shared configuration cannot be loaded, without which this instance makes no backup as the active: %v; an instance that knows it, and may write there, writes it again within minutes", err))
	case ctx.Err() == nil && a.configs.firstFailure(digest):
		a.tell.Note(ctx, event.Alarm, "config", "the shared configuration cannot be loaded: "+err.Error(), nil)
	}
	_ = wait(ctx, configPause) // ends early when the agent stops
}
