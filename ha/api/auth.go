package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-ha/understudy/ha/event"
)

// public is what TCP serves to anybody.
var public = map[string]bool{
	"GET /healthz": true, "HEAD /healthz": true,
	"GET /readyz": true, "HEAD /readyz": true,
	"GET /leader": true, "HEAD /leader": true,
	"GET /metrics": true, "HEAD /metrics": true,
	"POST /api/v1/notifications": true,
	"POST /api/v1/sightings":     true,
	"POST " + sessionsPath:       true,
}

// writeProblem answers outside of huma.
func writeProblem(w http.ResponseWriter, status int, detail string) {
	sendProblem(w, problem(status, detail))
}

func sendProblem(w http.ResponseWriter, p *huma.ErrorModel) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Del("Content-Length")
	w.WriteHeader(p.Status)
	// A failure to write means that nobody is there to tell.
	_ = json.NewEncoder(w).Encode(p)
}

// withCaller notes on whose word a request acts: what happens because of it
// says so.
func withCaller(ctx context.Context, who string) context.Context {
	return event.WithActor(ctx, who)
}

// caller is on whose word a request acts: "token", "socket (uid 0 root)",
// "user alice".
func caller(ctx context.Context) string { return event.Actor(ctx) }
