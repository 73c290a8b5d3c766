package api

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-ha/understudy/ha/agent"
)

// RecoveryRequest asks to go on from a bucket that was put back to an earlier state.
type RecoveryRequest struct {
	Epoch   uint64   `json:"epoch" doc:"of the older head, as the plan has shown it"`
	Rev     uint64   `json:"rev" doc:"of the same"`
	Without []string `json:"without,omitempty" maxItems:"100" doc:"names of instances that cannot be asked, and that will never see the newer head again: your word, which is recorded"`
	Reason  string   `json:"reason,omitempty" maxLength:"1000" doc:"for people"`
}

type recoveryPlanInput struct {
	Without []string `query:"without,explode" maxItems:"100" doc:"names of instances that cannot be asked"`
}

type recoveryInput struct{ Body RecoveryRequest }

type recoveryOutput struct{ Body agent.RecoveryPlan }

// addRecovery adds the way out of a bucket that was put back, and what peers are
// asked about it.
func (a *api) addRecovery() {
	register(a, operation("plan-recovery", http.MethodGet, "/api/v1/recovery", "What a bucket that was put back to an earlier state lacks, and what going on from it would mean", http.StatusServiceUnavailable),
		func(ctx context.Context, in *recoveryPlanInput) (*recoveryOutput, error) {
			plan, err := a.agent.PlanRecovery(ctx, in.Without)
			return &recoveryOutput{Body: plan}, err
		})
	register(a, operation("recover-bucket", http.MethodPost, "/api/v1/recovery", "Have the cluster go on from a bucket that was put back to an earlier state", http.StatusConflict, http.StatusServiceUnavailable),
		func(ctx context.Context, in *recoveryInput) (*recoveryOutput, error) {
			b := in.Body
			plan, err := a.agent.RecoverBucket(ctx, agent.RecoveryRequest{By: caller(ctx), Reason: b.Reason, Without: b.Without, Epoch: b.Epoch, Rev: b.Rev})
			return &recoveryOutput{Body: plan}, err
		})
	a.addSightings()
}

type sightingOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func (a *api) addSightings() {
	o := operation("sight", http.MethodPost, "/api/v1/sightings", "What this instance sees of the head, for a peer whose question has a Standard Webhooks signature", http.StatusUnauthorized)
	register(a, o, func(ctx context.Context, in *notificationInput) (*sightingOutput, error) {
		answer, err := a.agent.Sight(ctx, in.header(), bytes.Clone(in.RawBody))
		if err != nil {
			a.log.DebugContext(ctx, "question refused", slog.Any("error", err))
			return nil, problem(http.StatusUnauthorized, "the signature of the question does not hold, or its time is too far off")
		}
		return &sightingOutput{ContentType: "application/json", Body: answer}, nil
	})
	path := a.huma.OpenAPI().Paths[o.Path].Post
	path.RequestBody.Content = map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: huma.TypeObject, Description: "anything that is signed"}}}
	path.Responses["200"].Content = map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: huma.TypeObject, Description: "a JWS for this very question"}}}
}
