package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/understudy-ha/understudy/ha/event"
)

// public is what TCP serves to anybody: nothing of it changes anything but by
// a valid signature, nor tells more than a load balancer or a monitor needs.
var public = map[string]bool{
	"GET /healthz": true, "HEAD /healthz": true,
	"GET /readyz": true, "HEAD /readyz": true,
	"GET /leader": true, "HEAD /leader": true,
	"GET /metrics": true, "HEAD /metrics": true,
	"POST /api/v1/notifications": true,
}

// requireToken lets requests through that are public or carry the token.
func requireToken(token string, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(strings.TrimSpace(given)))
		switch {
		case public[r.Method+" "+r.URL.Path]:
			next.ServeHTTP(w, r)
		case token == "":
			writeProblem(w, http.StatusForbidden, "no admin token is configured, so this address serves health, /leader, /metrics and signed notifications only: set UNDERSTUDY_ADMIN_TOKEN or UNDERSTUDY_ADMIN_TOKEN_FILE, or use the command line on the instance's host")
		case strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], want[:]) == 1:
			next.ServeHTTP(w, r.WithContext(withCaller(r.Context(), "token")))
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="understudy"`)
			writeProblem(w, http.StatusUnauthorized, "this needs the admin token (Authorization: Bearer …)")
		}
	})
}

// writeProblem answers outside of huma.
func writeProblem(w http.ResponseWriter, status int, detail string) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Del("Content-Length")
	w.WriteHeader(status)
	// A failure to write means that nobody is there to tell.
	_ = json.NewEncoder(w).Encode(problem(status, detail))
}

// withCaller notes on whose word a request acts: what happens because of it
// says so.
func withCaller(ctx context.Context, who string) context.Context {
	return event.WithActor(ctx, who)
}

// caller is on whose word a request acts: "token", "socket (uid 0 root)".
func caller(ctx context.Context) string { return event.Actor(ctx) }
