package shared

import (
	"context"
	"errors"
	"sync"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
)

// Configs knows the shared configuration: the one in force, in memory and on
// disk, and any other by its digest. It is safe for concurrent use.
type Configs struct {
	control *control.Store
	dir     *datadir.Dir

	keeping sync.Mutex // held while the disk is written, which may take for ever
	mu      sync.Mutex
	now     datadir.SavedConfig // in force, as far as is known
}

// NewConfigs knows the one that is kept in the data folder.
func NewConfigs(b *control.Store, dir *datadir.Dir) *Configs {
	return &Configs{control: b, dir: dir, now: dir.LoadConfig()}
}

// Current gives the configuration in force and its digest; nil while none is
// known.
func (c *Configs) Current() (string, *ha.Config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now.Digest, c.now.Config
}

// With gives the configuration with this digest, verified. "" is the one in
// force.
func (c *Configs) With(ctx context.Context, digest string) (*ha.Config, error) {
	known, config := c.Current()
	if config != nil && (digest == "" || digest == known) {
		return config, nil
	}
	if digest == "" {
		return nil, errors.New("the shared configuration is not known yet")
	}
	return c.control.ConfigWith(ctx, digest)
}

// Use keeps a configuration that is in force, on disk too.
func (c *Configs) Use(digest string, config *ha.Config) error {
	c.mu.Lock()
	c.now = datadir.SavedConfig{Digest: digest, Config: config}
	c.mu.Unlock()
	c.keeping.Lock()
	defer c.keeping.Unlock()
	return c.dir.SaveConfig(c.Current())
}

// Put writes a configuration to the bucket, unless it is in force already, and
// returns its digest.
func (c *Configs) Put(ctx context.Context, config *ha.Config) (string, error) {
	digest, err := control.DigestOf(config)
	if known, _ := c.Current(); err != nil || digest == known {
		return digest, err
	}
	return c.control.PutConfig(ctx, config)
}
