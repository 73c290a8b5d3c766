package api

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestWithoutATokenTCPServesHealthAlone: whoever has no token gets what load
// balancers, monitors and peers need, and nothing else.
func TestWithoutATokenTCPServesHealthAlone(t *testing.T) {
	open := []string{"GET /healthz", "GET /readyz", "GET /leader", "GET /metrics", "HEAD /leader"}
	closed := []string{
		"GET /api/v1/status", "GET /api/v1/instances", "GET /api/v1/backups", "GET /api/v1/backups/x", "GET /api/v1/events",
		"POST /api/v1/backups", "POST /api/v1/promotions", "GET /api/v1/promotions/x", "DELETE /api/v1/promotions/x",
		"PUT /api/v1/config", "GET /api/v1/config", "GET /api/v1/recovery", "POST /api/v1/recovery", "POST /api/v1/instances", "DELETE /api/v1/instances/b",
		"POST /api/v1/schedule/pause", "POST /api/v1/schedule/resume", "POST /api/v1/application/start",
		"GET /api/v1/openapi.json", "GET /nothing", "GET /api/v1/notifications", "POST /healthz",
		"GET /healthz/../api/v1/status", "GET //api/v1/status",
	}
	// Peers sign theirs, and a session begins with a password.
	signed := []string{"POST /api/v1/notifications", "POST /api/v1/sightings", "POST /api/v1/sessions", "GET /api/v1/sessions/current", "DELETE /api/v1/sessions/current"}
	for _, call := range design {
		if strings.Contains(call, "/api/v1/") && !slices.Contains(signed, call) {
			closed = append(closed, pathParameter.ReplaceAllString(call, "x"))
		}
	}
	for _, configured := range []string{"", token} {
		t.Run(fmt.Sprintf("configured=%t", configured != ""), func(t *testing.T) {
			s := start(t, configured)
			for _, call := range open {
				method, path, _ := strings.Cut(call, " ")
				if a := s.tcp(t, method, path, ""); a.status != http.StatusOK {
					t.Errorf("%s: %d %s", call, a.status, a.body)
				}
			}
			for _, call := range closed {
				method, path, _ := strings.Cut(call, " ")
				for _, header := range [][]string{nil, {"Authorization", "Bearer "}, {"Authorization", "Bearer wrong"}, {"Authorization", "Basic " + token}, {"Authorization", token}} {
					a := s.tcp(t, method, path, "", header...)
					want := http.StatusForbidden
					if configured != "" {
						want = http.StatusUnauthorized
					}
					if a.status != want {
						t.Errorf("%s with %q: %d, want %d: %s", call, header, a.status, want, a.body)
					}
					checkProblem(t, a)
				}
			}
			if got := s.fake.lastCall(); got != "" {
				t.Errorf("the agent was asked: %s", got)
			}
		})
	}
}

func TestRefusedRequestsSayWhatToDo(t *testing.T) {
	if a := start(t, "").tcp(t, "GET", "/api/v1/status", ""); !strings.Contains(a.body, "UNDERSTUDY_ADMIN_TOKEN") {
		t.Errorf("no token configured: %s", a.body)
	}
	a := start(t, token).tcp(t, "GET", "/api/v1/status", "")
	if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
		t.Errorf("WWW-Authenticate: %q", a.header.Get("WWW-Authenticate"))
	}
	if strings.Contains(a.body, token) {
		t.Error("the answer holds the token")
	}
}

func TestTheTokenAllowsEverythingOverTCP(t *testing.T) {
	s := start(t, token)
	for _, scheme := range []string{"Bearer ", "bearer "} {
		if a := s.tcp(t, "GET", "/api/v1/status", "", "Authorization", scheme+token); a.status != http.StatusOK {
			t.Errorf("%q: %d %s", scheme, a.status, a.body)
		}
	}
}

func TestOperationsAreRecordedWithWhoAsked(t *testing.T) {
	s := start(t, token)
	s.tcp(t, "POST", "/api/v1/schedule/pause", "", "Authorization", "Bearer "+token)
	if got := s.fake.lastCall(); got != "pause by token" {
		t.Errorf("over TCP: %q", got)
	}
	s.local(t, "POST", "/api/v1/schedule/pause", "")
	if got, want := s.fake.lastCall(), "pause by "+socketUser(uint32(os.Getuid())); got != want {
		t.Errorf("over the socket: %q, want %q", got, want)
	}
	s.local(t, "POST", "/api/v1/promotions", `{"by":"somebody else"}`)
	if got := s.fake.lastCall(); got != "" {
		t.Errorf("a request named who asks: %s", got)
	}
}
