package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/report"
)

// Health says that something is as it should be.
type Health struct {
	Status string `json:"status" enum:"ok" doc:"always \"ok\": anything else is a problem document"`
}

type healthOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         Health
}

// Leader says who is active, as this instance sees it.
type Leader struct {
	Leading   bool    `json:"leading" doc:"this instance is the active, and its application runs"`
	Role      ha.Role `json:"role" doc:"of this instance"`
	Epoch     uint64  `json:"epoch"`
	Instance  string  `json:"instance" doc:"this instance"`
	Active    string  `json:"active,omitempty" doc:"name of the active; empty while it is not known"`
	ActiveURL string  `json:"active_url,omitempty"`
}

type leaderOutput struct {
	Status       int
	CacheControl string `header:"Cache-Control"`
	Body         Leader
}

const noStore = "no-store"

// addHealth adds what load balancers and supervisors ask. None of it asks the
// bucket: the agent's last look at it answers.
func (a *api) addHealth(i Instance) {
	register(a, operation("health", http.MethodGet, "/healthz", "The process is up"), func(context.Context, *struct{}) (*healthOutput, error) {
		return &healthOutput{CacheControl: noStore, Body: Health{Status: "ok"}}, nil
	})
	register(a, operation("ready", http.MethodGet, "/readyz", "Bucket and key are usable", http.StatusServiceUnavailable), func(ctx context.Context, _ *struct{}) (*healthOutput, error) {
		if s := i.Status(); s.Bucket != "ok" {
			// What is wrong may name the bucket, its host and its keys.
			detail := "the bucket or its key cannot be used: understudy status on the host says why"
			if caller(ctx) != "" {
				detail = "bucket: " + s.Bucket
			}
			return nil, problem(http.StatusServiceUnavailable, detail)
		}
		return &healthOutput{CacheControl: noStore, Body: Health{Status: "ok"}}, nil
	})
	o := operation("leader", http.MethodGet, "/leader", "200 on the active whose application runs, 503 elsewhere: a load balancer's health check")
	unavailable := strconv.Itoa(http.StatusServiceUnavailable)
	o.Responses[unavailable] = describe("This instance does not lead", content[Leader](a, "application/json"))
	register(a, o, func(context.Context, *struct{}) (*leaderOutput, error) {
		out := &leaderOutput{Status: http.StatusOK, CacheControl: noStore, Body: leader(i.Status())}
		if !out.Body.Leading {
			out.Status = http.StatusServiceUnavailable
		}
		return out, nil
	})
}

// leader reads who leads out of a status. An application that was started on
// an operator's word while the bucket could not be reached leads too: it is
// there to serve.
func leader(s report.Status) Leader {
	confirmed := s.Leading || s.Override
	return Leader{
		Leading:  s.Role == ha.RoleActive && confirmed && s.Refused == "" && s.App == "running",
		Role:     s.Role,
		Epoch:    s.Epoch,
		Instance: s.Instance,
		Active:   s.Active, ActiveURL: s.ActiveURL,
	}
}
