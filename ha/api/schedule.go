package api

import (
	"context"
	"net/http"
)

// addSchedule adds pausing and resuming the schedule, and the override that
// starts an application while the bucket cannot be reached.
func (a *api) addSchedule() {
	for _, c := range []struct {
		id, path, summary string
		do                func(ctx context.Context, by string) error
	}{
		{"pause-schedule", "/api/v1/schedule/pause", "Pause the schedule of backups", a.agent.Pause},
		{"resume-schedule", "/api/v1/schedule/resume", "Resume the schedule of backups", a.agent.Resume},
		{"start-application", "/api/v1/application/start", "Start the application of an active that cannot reach the bucket, on an operator's word", a.agent.StartAnyway},
	} {
		o := operation(c.id, http.MethodPost, c.path, c.summary, http.StatusConflict, http.StatusServiceUnavailable)
		register(a, o, func(ctx context.Context, _ *struct{}) (*struct{}, error) {
			return nil, c.do(ctx, caller(ctx))
		})
	}
}
