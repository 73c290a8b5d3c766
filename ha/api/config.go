package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-ha/understudy/ha/agent"
)

// ConfigChange names what is to change of the shared configuration; what is
// left out stays. Durations are like "90s", "5m", "12h", "14d".
type ConfigChange struct {
	Frequency   *string `json:"frequency,omitempty" doc:"between backups; at least one minute"`
	Retention   *string `json:"retention,omitempty"`
	ReuseWindow *string `json:"reuse_window,omitempty"`
	Fencing     *string `json:"fencing,omitempty" enum:"available,strict"`
	TTL         *string `json:"ttl,omitempty"`
	StopTimeout *string `json:"stop_timeout,omitempty"`
	Margin      *string `json:"margin,omitempty"`
}

// setting is one thing that is to change.
type setting struct{ key, value string }

func (c ConfigChange) settings() []setting {
	var all []setting
	for _, s := range []struct {
		key   string
		value *string
	}{
		{"frequency", c.Frequency}, {"retention", c.Retention}, {"reuse_window", c.ReuseWindow}, {"fencing", c.Fencing},
		{"ttl", c.TTL}, {"stop_timeout", c.StopTimeout}, {"margin", c.Margin},
	} {
		if s.value != nil {
			all = append(all, setting{s.key, *s.value})
		}
	}
	return all
}

type configOutput struct{ Body agent.SharedConfig }

type setConfigInput struct{ Body ConfigChange }

func (a *api) addConfig() {
	register(a, operation("get-config", http.MethodGet, "/api/v1/config", "The shared configuration in force", http.StatusServiceUnavailable),
		func(context.Context, *struct{}) (*configOutput, error) { return a.config() })
	o := operation("set-config", http.MethodPut, "/api/v1/config", "Change the shared configuration, on the active",
		http.StatusConflict, http.StatusServiceUnavailable)
	o.Description = "Settings come into force one after the other, in an order in which each is valid. When one cannot be, the problem's detail names those that are in force by then."
	register(a, o, func(ctx context.Context, in *setConfigInput) (*configOutput, error) {
		if err := a.setConfig(ctx, in.Body.settings()); err != nil {
			return nil, err
		}
		return a.config()
	})
}

func (a *api) config() (*configOutput, error) {
	c := a.agent.Status().Config
	if c == nil {
		return nil, problem(http.StatusServiceUnavailable, "the shared configuration is not known yet")
	}
	return &configOutput{Body: *c}, nil
}

// setConfig puts settings into force. Settings bound each other (a longer
// stop_timeout may need a longer ttl first), so one that is not valid yet is
// tried again after the others.
func (a *api) setConfig(ctx context.Context, todo []setting) error {
	var done []string
	for len(todo) > 0 {
		var invalid error
		var later []setting
		for _, s := range todo {
			err := a.agent.SetConfig(ctx, s.key, s.value)
			switch {
			case err == nil:
				done = append(done, s.key)
			case errors.Is(err, agent.ErrInvalid):
				later = append(later, s)
				if invalid == nil {
					invalid = err
				}
			default:
				return a.partly(ctx, done, err)
			}
		}
		if len(later) == len(todo) {
			return a.partly(ctx, done, invalid)
		}
		todo = later
	}
	return nil
}

// partly adds to an error what is in force all the same.
func (a *api) partly(ctx context.Context, done []string, err error) error {
	err = a.problemOf(ctx, err)
	var p *huma.ErrorModel
	if len(done) > 0 && errors.As(err, &p) {
		p.Detail = fmt.Sprintf("%s (in force all the same: %s)", p.Detail, strings.Join(done, ", "))
	}
	return err
}
