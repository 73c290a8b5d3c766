package shared

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/requests"
)

// AddInstance registers the URL of an instance ahead of its join, so that it
// is notified from the start.
func (s *Shared) AddInstance(ctx context.Context, rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return ha.Invalidf("%q is not the URL of an instance: write it like https://host-b:7878", rawURL)
	}
	rawURL = strings.TrimSuffix(rawURL, "/")
	return s.change(ctx, rawURL+" was registered", func(c *ha.Config) error {
		if !slices.ContainsFunc(c.Instances, func(m ha.Member) bool { return m.URL == rawURL && !m.Removed }) {
			c.Instances = append(c.Instances, ha.Member{URL: rawURL})
		}
		return nil
	})
}

// RemoveInstance removes an instance, named by its name or (before it has
// joined) by its URL. It is refused by the bucket's other users from then on,
// until it joins again. The active cannot be removed.
func (s *Shared) RemoveInstance(ctx context.Context, name string) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	if h := s.host.View().Head; h != nil && h.Active.Name == name {
		return &ha.Refusal{Reason: fmt.Sprintf("%s is the active: promote another instance first", name)}
	}
	if err := s.host.Records.Refresh(ctx); err != nil {
		return err
	}
	r, registered := s.host.Records.Reading().Rows[name]
	err := s.changeLocked(ctx, name+" was removed", func(c *ha.Config) error {
		n := len(c.Instances)
		c.Instances = slices.DeleteFunc(c.Instances, func(m ha.Member) bool {
			return m.Name == name || m.Name == "" && (m.URL == name || r.Record != nil && m.URL == r.Record.URL)
		})
		switch {
		case registered:
			c.Instances = append(c.Instances, ha.Member{Name: name, Removed: true})
		case len(c.Instances) == n:
			return ha.Invalidf("there is no instance %s", name)
		}
		return nil
	})
	if err != nil || !registered {
		return err
	}
	// A record that is there says that its instance has joined; so it goes
	// last.
	if err := s.host.Control.Remove(ctx, ha.InstanceKey(name)); err != nil {
		return err
	}
	return s.host.Records.Refresh(ctx)
}

// Readmit takes the mark from removed instances that have joined again: those
// that have a record.
func (s *Shared) Readmit(ctx context.Context) {
	_, config := s.host.Configs.Current()
	if core := s.host.View(); config == nil || !core.Leading || !s.changing.TryLock() {
		return
	}
	defer s.changing.Unlock()
	for _, m := range config.Instances {
		if _, joined := s.host.Records.Reading().Rows[m.Name]; !m.Removed || !joined {
			continue
		}
		err := s.changeLocked(ctx, m.Name+" has joined again", func(c *ha.Config) error {
			c.Instances = slices.DeleteFunc(c.Instances, func(other ha.Member) bool { return other.Name == m.Name })
			return nil
		})
		if err != nil && !ha.IsRefusal(err) && !errors.Is(err, requests.ErrStopped) && ctx.Err() == nil {
			s.host.Log.Note(ctx, event.Warn, "instances", err.Error(), nil)
		}
	}
}
