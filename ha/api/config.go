package api

import (
	"context"
	"net/http"

	"github.com/understudy-ha/understudy/ha/report"
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

func (c ConfigChange) settings() map[string]string {
	all := make(map[string]string)
	for key, value := range map[string]*string{
		"frequency": c.Frequency, "retention": c.Retention, "reuse_window": c.ReuseWindow, "fencing": c.Fencing,
		"ttl": c.TTL, "stop_timeout": c.StopTimeout, "margin": c.Margin,
	} {
		if value != nil {
			all[key] = *value
		}
	}
	return all
}

type configOutput struct{ Body report.SharedConfig }

type setConfigInput struct{ Body ConfigChange }

func (a *api) addConfig(shared Shared, i Instance) {
	register(a, operation("get-config", http.MethodGet, "/api/v1/config", "The shared configuration in force", http.StatusServiceUnavailable),
		func(context.Context, *struct{}) (*configOutput, error) { return config(i) })
	o := operation("set-config", http.MethodPut, "/api/v1/config", "Change the shared configuration, on the active",
		http.StatusConflict, http.StatusServiceUnavailable)
	o.Description = "All of the settings come into force, or none."
	register(a, o, func(ctx context.Context, in *setConfigInput) (*configOutput, error) {
		if err := shared.SetConfig(ctx, in.Body.settings()); err != nil {
			return nil, err
		}
		return config(i)
	})
}

func config(i Instance) (*configOutput, error) {
	c := i.Status().Config
	if c == nil {
		return nil, problem(http.StatusServiceUnavailable, "the shared configuration is not known yet")
	}
	return &configOutput{Body: *c}, nil
}
