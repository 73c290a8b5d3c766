package api

import (
	"context"
	"net/http"

	"github.com/understudy-ha/understudy/ha/putback"
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

type recoveryOutput struct{ Body putback.RecoveryPlan }

// addRecovery adds the way out of a bucket that was put back.
func (a *api) addRecovery(r Recovery) {
	register(a, operation("plan-recovery", http.MethodGet, "/api/v1/recovery", "What a bucket that was put back to an earlier state lacks, and what going on from it would mean", http.StatusServiceUnavailable),
		func(ctx context.Context, in *recoveryPlanInput) (*recoveryOutput, error) {
			plan, err := r.PlanRecovery(ctx, in.Without)
			return &recoveryOutput{Body: plan}, err
		})
	register(a, operation("recover-bucket", http.MethodPost, "/api/v1/recovery", "Have the cluster go on from a bucket that was put back to an earlier state", http.StatusConflict, http.StatusServiceUnavailable),
		func(ctx context.Context, in *recoveryInput) (*recoveryOutput, error) {
			b := in.Body
			plan, err := r.RecoverBucket(ctx, putback.RecoveryRequest{Reason: b.Reason, Without: b.Without, Epoch: b.Epoch, Rev: b.Rev})
			return &recoveryOutput{Body: plan}, err
		})
}
