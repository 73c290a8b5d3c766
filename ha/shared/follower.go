package shared

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
)

// Follower has the configuration that the head names loaded, and tells the machine of it.
// Its methods are the machine's loop's.
type Follower struct {
	configs *Configs
	log     event.Reporter
	post    func(ha.Event) // to the machine; it may wait for the loop
	told    string         // digest of the configuration that the machine was told of

	mu      sync.Mutex
	loading bool
	failed  string // digest of the one whose failure to load was said
}

// NewFollower posts what the machine is to be told.
func NewFollower(c *Configs, log event.Reporter, post func(ha.Event)) *Follower {
	return &Follower{configs: c, log: log, post: post}
}

// Begin is what the machine is told first: the configuration that is kept, which is most
// likely still in force.
func (f *Follower) Begin() ha.Event {
	digest, c := f.configs.Current()
	if c == nil {
		return ha.Tick{}
	}
	f.told = digest
	return ha.UseConfig{Frequency: c.Frequency}
}

// Follow loads the configuration that the head names, if that is another than the one
// that is known, and tells the machine. What takes time is begun by start.
func (f *Follower) Follow(ctx context.Context, h *ha.Head, start func(func())) {
	if h == nil {
		return
	}
	known, config := f.configs.Current()
	if config != nil && known == h.Config && f.told != h.Config {
		f.told = h.Config
		told := ha.UseConfig{Frequency: config.Frequency}
		start(func() { f.post(told) })
	}
	if f.claim(h.Config) {
		start(func() { f.load(ctx, h.Config) })
	}
}

// claim reports true when a configuration is to be loaded, and keeps others
// from loading at the same time until release is called.
func (f *Follower) claim(digest string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	known, _ := f.configs.Current()
	if digest == "" || digest == known || f.loading {
		return false
	}
	f.loading = true
	return true
}

func (f *Follower) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loading = false
}

// firstFailure reports whether this is the first time that the configuration
// could not be loaded.
func (f *Follower) firstFailure(digest string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := f.failed != digest
	f.failed = digest
	return first
}

const configKind = "config" // of events

// configPause is the time between two attempts to load a configuration.
const configPause = 2 * time.Second

// load loads the configuration in force. A failed attempt is repeated by
// a later step.
func (f *Follower) load(ctx context.Context, digest string) {
	defer f.release()
	config, err := f.configs.With(ctx, digest)
	if err == nil {
		err = f.configs.Use(digest, config)
	}
	if err == nil {
		f.log.TroubleOver(ctx, configKind, "load", "the shared configuration is loaded")
		f.post(ha.Tick{})
		return
	}
	switch {
	case errors.Is(err, blobstore.ErrNotFound), errors.Is(err, control.ErrUnverified):
		f.log.Trouble(ctx, configKind, "load", fmt.Sprintf("the shared configuration cannot be loaded, without which this instance makes no backup as the active: %v; an instance that knows it, and may write there, writes it again within minutes", err))
	case ctx.Err() == nil && f.firstFailure(digest):
		f.log.Note(ctx, event.Alarm, configKind, "the shared configuration cannot be loaded: "+err.Error(), nil)
	}
	_ = clock.Wait(ctx, configPause) // ends early when the agent stops
}
