package agent

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/requests"
)

// ConfigKeys are the settings that SetConfig takes.
var ConfigKeys = []string{"frequency", "retention", "reuse_window", "fencing", "ttl", "stop_timeout", "margin"}

// SetConfig changes settings that all instances share, all or none, and waits
// until they are in force. A value that cannot be is ha.ErrInvalid; on an instance
// that is not the active it is a *ha.Refusal that names the active.
func (a *Agent) SetConfig(ctx context.Context, settings map[string]string) error {
	return a.changeConfig(ctx, "", func(c *ha.Config) error {
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
		return invalid("there is no setting %q: the settings are %s", key, strings.Join(ConfigKeys, ", "))
	}
	d, err := ParseDuration(value)
	if err != nil {
		return invalid("%s: %w", key, err)
	}
	*target = ha.Duration(d)
	return nil
}

// ParseDuration reads a duration as time.ParseDuration does, and whole or
// broken days too ("14d", "1d12h").
func ParseDuration(text string) (time.Duration, error) {
	days, rest, found := strings.Cut(text, "d")
	if !found {
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration: write it like 90s, 5m, 12h or 14d", text)
		}
		return d, nil
	}
	d, err := time.ParseDuration(days + "h")
	d *= 24
	if err == nil && rest != "" {
		var more time.Duration
		more, err = time.ParseDuration(rest)
		d += more
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: write it like 90s, 5m, 12h or 14d", text)
	}
	return d, nil
}

// changeConfig changes the shared configuration and waits until the head names
// it. The event about it says text, or, where that is empty, which settings
// were changed.
func (a *Agent) changeConfig(ctx context.Context, text string, change func(*ha.Config) error) error {
	a.membership.Lock()
	defer a.membership.Unlock()
	return a.changeConfigLocked(ctx, text, change)
}

func (a *Agent) changeConfigLocked(ctx context.Context, text string, change func(*ha.Config) error) error {
	a.asking.AwaitLook(ctx)
	if err := a.asking.OnlyActive("the configuration is changed"); err != nil {
		return err
	}
	h := a.state.View().Head
	if h == nil {
		return &ha.Refusal{Reason: "the bucket cannot be used: the head has not been read yet"}
	}
	now, err := a.configs.get(ctx, h.Config)
	if err != nil {
		return err
	}
	next := *now
	next.Instances = slices.Clone(now.Instances)
	if err := a.control.Reseal(&next, a.cfg.Random); err != nil {
		return err
	}
	if err := change(&next); err != nil {
		return err
	}
	if err := next.Validate(a.cfg.Poll); err != nil {
		return invalid("%w", err)
	}
	if next.Fencing.Mode == ha.Strict && now.Fencing.Mode != ha.Strict {
		if err := a.refuseStrict(ctx, &next); err != nil {
			return err
		}
	}
	digest, err := a.configs.put(ctx, &next)
	if err != nil {
		return err
	}
	if digest == h.Config {
		return nil
	}
	_, err = a.asking.Do(ctx, func(id string) ha.Event {
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
	a.tell.Note(ctx, event.Info, "config", text, map[string]any{"from": short(h.Config), "to": short(digest)})
	return a.configs.use(digest, &next)
}

// short shortens a digest for people.
func short(digest string) string { return digest[:min(len(digest), 12)] }

// AddInstance registers the URL of an instance ahead of its join, so that it
// is notified from the start.
func (a *Agent) AddInstance(ctx context.Context, rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return invalid("%q is not the URL of an instance: write it like https://host-b:7878", rawURL)
	}
	rawURL = strings.TrimSuffix(rawURL, "/")
	return a.changeConfig(ctx, rawURL+" was registered", func(c *ha.Config) error {
		if !slices.ContainsFunc(c.Instances, func(m ha.Member) bool { return m.URL == rawURL && !m.Removed }) {
			c.Instances = append(c.Instances, ha.Member{URL: rawURL})
		}
		return nil
	})
}

// RemoveInstance removes an instance, named by its name or (before it has
// joined) by its URL. It is refused by the bucket's other users from then on,
// until it joins again. The active cannot be removed.
func (a *Agent) RemoveInstance(ctx context.Context, name string) error {
	a.membership.Lock()
	defer a.membership.Unlock()
	if h := a.state.View().Head; h != nil && h.Active.Name == name {
		return &ha.Refusal{Reason: fmt.Sprintf("%s is the active: promote another instance first", name)}
	}
	if err := a.table.refresh(ctx); err != nil {
		return err
	}
	r, registered := a.table.reading().rows[name]
	err := a.changeConfigLocked(ctx, name+" was removed", func(c *ha.Config) error {
		n := len(c.Instances)
		c.Instances = slices.DeleteFunc(c.Instances, func(m ha.Member) bool {
			return m.Name == name || m.Name == "" && (m.URL == name || r.rec != nil && m.URL == r.rec.URL)
		})
		switch {
		case registered:
			c.Instances = append(c.Instances, ha.Member{Name: name, Removed: true})
		case len(c.Instances) == n:
			return invalid("there is no instance %s", name)
		}
		return nil
	})
	if err != nil || !registered {
		return err
	}
	// A record that is there says that its instance has joined; so it goes
	// last.
	if err := a.control.Remove(ctx, ha.InstanceKey(name)); err != nil {
		return err
	}
	return a.table.refresh(ctx)
}

// readmit takes the mark from removed instances that have joined again: those
// that have a record.
func (a *Agent) readmit(ctx context.Context) {
	_, config := a.configs.current()
	if core := a.state.View(); config == nil || !core.Leading || !a.membership.TryLock() {
		return
	}
	defer a.membership.Unlock()
	for _, m := range config.Instances {
		if _, joined := a.table.reading().rows[m.Name]; !m.Removed || !joined {
			continue
		}
		err := a.changeConfigLocked(ctx, m.Name+" has joined again", func(c *ha.Config) error {
			c.Instances = slices.DeleteFunc(c.Instances, func(other ha.Member) bool { return other.Name == m.Name })
			return nil
		})
		if err != nil && !ha.IsRefusal(err) && !errors.Is(err, requests.ErrStopped) && ctx.Err() == nil {
			a.tell.Note(ctx, event.Warn, "instances", err.Error(), nil)
		}
	}
}
