package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/requests"
)

// PauseRequest says for how long the schedule of backups is to be paused, and
// why.
type PauseRequest struct {
	For    string     `json:"for,omitempty" doc:"a duration like 90m or 2h; empty: until it is resumed"`
	Until  *time.Time `json:"until,omitempty" doc:"instead of for, by the agent's clock"`
	Reason string     `json:"reason,omitempty" maxLength:"1000" doc:"for people"`
}

type pauseInput struct{ Body *PauseRequest }

// addSchedule adds pausing and resuming the schedule, and the override that
// starts an application while the bucket cannot be reached.
func (a *api) addSchedule(r Requests) {
	register(a, actionOf("pause-schedule", "/api/v1/schedule/pause", "Pause the schedule of backups, on the active"),
		func(ctx context.Context, in *pauseInput) (*struct{}, error) {
			if in.Body == nil {
				return nil, r.Pause(ctx, requests.PauseRequest{})
			}
			req := requests.PauseRequest{Reason: in.Body.Reason}
			var err error
			if req.For, err = in.Body.length(a.now()); err != nil {
				return nil, err
			}
			return nil, r.Pause(ctx, req)
		})
	register(a, actionOf("resume-schedule", "/api/v1/schedule/resume", "Resume the schedule of backups, on the active"),
		func(ctx context.Context, _ *struct{}) (*struct{}, error) {
			return nil, r.Resume(ctx)
		})
	register(a, actionOf("start-application", "/api/v1/application/start", "Start the application of an active that cannot reach the bucket, on an operator's word"),
		func(ctx context.Context, _ *struct{}) (*struct{}, error) {
			return nil, r.StartAnyway(ctx)
		})
}

// actionOf describes a call that does something and has no answer.
func actionOf(id, path, summary string) huma.Operation {
	return operation(id, http.MethodPost, path, summary, http.StatusConflict, http.StatusServiceUnavailable)
}

// length is how long the pause is to be; 0: until it is resumed.
func (p PauseRequest) length(now time.Time) (time.Duration, error) {
	switch {
	case p.For != "" && p.Until != nil:
		return 0, problem(http.StatusUnprocessableEntity, "a pause has either a length (for) or an end (until)")
	case p.For != "":
		d, err := ha.ParseDuration(p.For)
		if err == nil && d <= 0 {
			return 0, problem(http.StatusUnprocessableEntity, "for: a pause must be longer than nothing")
		}
		if err != nil {
			return 0, problem(http.StatusUnprocessableEntity, "for: "+err.Error())
		}
		return d, nil
	case p.Until != nil:
		d := p.Until.Sub(now)
		if d <= 0 {
			return 0, problem(http.StatusUnprocessableEntity, "until: that time has passed already")
		}
		return d, nil
	}
	return 0, nil
}
