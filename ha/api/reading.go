package api

import (
	"context"
	"net/http"

	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/report"
)

// readingErrors are the statuses that whatever reads the bucket may have.
var readingErrors = []int{http.StatusServiceUnavailable, http.StatusInternalServerError}

type statusOutput struct{ Body report.Status }

// Instances is the table of instances.
type Instances struct {
	Instances []report.InstanceStatus `json:"instances" nullable:"false"`
}

type instancesOutput struct{ Body Instances }

// Lags is how far the standbys were behind.
type Lags struct {
	Samples []agent.LagSample `json:"samples" nullable:"false"`
}

type lagsOutput struct{ Body Lags }

// addReading adds what this instance knows of itself and of the others.
func (a *api) addReading(i Instance, t Table) {
	register(a, operation("get-status", http.MethodGet, "/api/v1/status", "What this instance knows of itself and of its cluster"),
		func(context.Context, *struct{}) (*statusOutput, error) {
			return &statusOutput{Body: i.Status()}, nil
		})
	register(a, operation("list-instances", http.MethodGet, "/api/v1/instances", "The table of instances", readingErrors...),
		func(ctx context.Context, _ *struct{}) (*instancesOutput, error) {
			all, err := t.Instances(ctx)
			return &instancesOutput{Body: Instances{Instances: notNil(all)}}, err
		})
	register(a, operation("list-lags", http.MethodGet, "/api/v1/lags", "How far the standbys were behind, a sample a minute, oldest first"),
		func(context.Context, *struct{}) (*lagsOutput, error) {
			return &lagsOutput{Body: Lags{Samples: notNil(t.Lags())}}, nil
		})
}

type historyInput struct {
	Before string `query:"before" maxLength:"512" doc:"the next of the page before; empty: the newest events"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"at most this many"`
}

type historyOutput struct{ Body control.ClusterHistory }

func (a *api) addHistory(h History) {
	o := operation("get-history", http.MethodGet, "/api/v1/history", "What has happened to the cluster, newest first, a page at a time", readingErrors...)
	o.Description = "It is derived from the signed objects in the bucket, each verified, so it is the same on every instance."
	register(a, o, func(ctx context.Context, in *historyInput) (*historyOutput, error) {
		page, err := h.ClusterHistory(ctx, in.Before, in.Limit)
		return &historyOutput{Body: page}, err
	})
}

// notNil makes a list that is an empty one in JSON, not null.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
