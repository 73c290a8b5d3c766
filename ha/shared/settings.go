package shared

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
)

// Asking is how the machine is asked; *requests.Asking is one.
type Asking interface {
	AwaitLook(ctx context.Context)
	OnlyActive(what string) error
	Do(ctx context.Context, of func(request string) ha.Event) (*backup.Ref, error)
}

// Host is the instance on which the configuration is changed.
type Host struct {
	Asking  Asking
	View    func() ha.Status // of the machine, as of its last step
	Configs *Configs
	Records *Records
	Control *control.Store
	Poll    time.Duration
	Random  io.Reader
	Ring    fmt.Stringer // the keys, for people
	Log     event.Reporter
	// AllowStrict refuses strict fencing where an instance cannot keep it.
	AllowStrict func(ctx context.Context, next *ha.Config) error
}

// Shared changes the shared configuration, one change at a time. It is safe for
// concurrent use.
type Shared struct {
	host     Host
	changing sync.Mutex
	resigned resigned // the goroutine's that keeps the table
}

// New changes it on a host.
func New(h Host) *Shared { return &Shared{host: h} }

// Hold keeps the configuration as it is until release is called.
func (s *Shared) Hold() (release func()) {
	s.changing.Lock()
	return s.changing.Unlock
}

// ConfigKeys are the settings that SetConfig takes.
var ConfigKeys = []string{"frequency", "retention", "reuse_window", "fencing", "ttl", "stop_timeout", "margin"}

// SetConfig changes settings that all instances share, all or none, and waits
// until they are in force. A value that cannot be is ha.ErrInvalid; on an instance
// that is not the active it is a *ha.Refusal that names the active.
func (s *Shared) SetConfig(ctx context.Context, settings map[string]string) error {
	return s.change(ctx, "", func(c *ha.Config) error {
		for key, value := range settings {
			if err := setConfig(c, key, value); err != nil {
				return err
			}
		}
		return nil
	})
}

// configDurations are the settings of c that are durations.
func configDurations(c *ha.Config) map[string]*ha.Duration {
	return map[string]*ha.Duration{
		"frequency": &c.Frequency, "retention": &c.Retention, "reuse_window": &c.ReuseWindow,
		"ttl": &c.Fencing.TTL, "stop_timeout": &c.Fencing.StopTimeout, "margin": &c.Fencing.Margin,
	}
}

// configChanges says which settings differ, from what to what.
func configChanges(old, now ha.Config) string {
	was, is := configDurations(&old), configDurations(&now)
	var said []string
	for _, key := range ConfigKeys {
		from, to := string(old.Fencing.Mode), string(now.Fencing.Mode)
		if key != "fencing" {
			from, to = was[key].String(), is[key].String()
		}
		if from != to {
			said = append(said, fmt.Sprintf("%s was changed from %s to %s", key, from, to))
		}
	}
	return strings.Join(said, ", ")
}

// setConfig changes one setting of c.
func setConfig(c *ha.Config, key, value string) error {
	if key == "fencing" {
		c.Fencing.Mode = ha.FencingMode(value)
		return nil
	}
	target := configDurations(c)[key]
	if target == nil {
		return ha.Invalidf("there is no setting %q: the settings are %s", key, strings.Join(ConfigKeys, ", "))
	}
	d, err := ha.ParseDuration(value)
	if err != nil {
		return ha.Invalidf("%s: %w", key, err)
	}
	*target = ha.Duration(d)
	return nil
}

// change changes the shared configuration and waits until the head names
// it. The event about it says text, or, where that is empty, which settings
// were changed.
func (s *Shared) change(ctx context.Context, text string, change func(*ha.Config) error) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.changeLocked(ctx, text, change)
}

func (s *Shared) changeLocked(ctx context.Context, text string, change func(*ha.Config) error) error {
	s.host.Asking.AwaitLook(ctx)
	if err := s.host.Asking.OnlyActive("the configuration is changed"); err != nil {
		return err
	}
	h := s.host.View().Head
	if h == nil {
		return &ha.Refusal{Reason: "the bucket cannot be used: the head has not been read yet"}
	}
	now, err := s.host.Configs.With(ctx, h.Config)
	if err != nil {
		return err
	}
	next := *now
	next.Instances = slices.Clone(now.Instances)
	if err := s.host.Control.Reseal(&next, s.host.Random); err != nil {
		return err
	}
	if err := change(&next); err != nil {
		return err
	}
	if err := next.Validate(s.host.Poll); err != nil {
		return ha.Invalidf("%w", err)
	}
	if next.Fencing.Mode == ha.Strict && now.Fencing.Mode != ha.Strict {
		if err := s.host.AllowStrict(ctx, &next); err != nil {
			return err
		}
	}
	digest, err := s.host.Configs.Put(ctx, &next)
	if err != nil {
		return err
	}
	if digest == h.Config {
		return nil
	}
	_, err = s.host.Asking.Do(ctx, func(id string) ha.Event {
		return ha.SetConfig{Request: id, Digest: digest, Frequency: next.Frequency, Fencing: next.Fencing}
	})
	if err != nil {
		return fmt.Errorf("put the configuration into force: %w", err)
	}
	if text == "" {
		text = configChanges(*now, next)
	}
	if text == "" {
		text = "the data keys were wrapped anew"
	}
	s.host.Log.Note(ctx, event.Info, "config", text, map[string]any{"from": short(h.Config), "to": short(digest)})
	return s.host.Configs.Use(digest, &next)
}

// short shortens a digest for people.
func short(digest string) string { return digest[:min(len(digest), 12)] }
