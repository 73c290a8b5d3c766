package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/agent"
)

// currentPromotion stands for the id of the promotion that is under way, or of
// the last one.
const currentPromotion = "current"

// PromotionRequest asks to make this instance the active, or, with DryRun,
// whether that would work and what would be lost.
type PromotionRequest struct {
	Backup               string  `json:"backup,omitempty" maxLength:"256" doc:"id of the backup to restore; empty: the newest"`
	Mode                 ha.Mode `json:"mode,omitempty" enum:"switchover,failover" default:"switchover"`
	DryRun               bool    `json:"dry_run,omitempty"`
	AllowVersionMismatch bool    `json:"allow_version_mismatch,omitempty" doc:"restore a backup of another version of the application"`
	AllowFailedRehearsal bool    `json:"allow_failed_rehearsal,omitempty" doc:"restore a backup whose rehearsal failed on this instance"`
	WaiveSalvage         bool    `json:"waive_salvage,omitempty" doc:"give up a salvage backup that this instance still owes"`
	HostIsOff            bool    `json:"host_is_off,omitempty" doc:"your word that the host of the old active is off: a failover does not wait for its application to stop; refused under strict fencing"`
	AppIsStopped         bool    `json:"application_is_stopped,omitempty" doc:"your word that the application of the active is stopped, where nothing but people can stop it: a switchover from there needs it; refused under strict fencing"`
	Shown                string  `json:"shown,omitempty" maxLength:"256" doc:"id of the newest backup that the operator was shown; a newer one refuses a failover"`
	Reason               string  `json:"reason,omitempty" maxLength:"1000" doc:"for people"`
}

type promoteInput struct{ Body *PromotionRequest }

type promoteOutput struct {
	Status   int
	Location string `header:"Location"`
	Body     any    // agent.Preflight of a dry run, agent.PromotionStatus otherwise
}

type promotionInput struct {
	Accept string `header:"Accept"`
	ID     string `path:"id" minLength:"1" maxLength:"256" doc:"a promotion's id, or current"`
}

func (a *api) addPromotions() {
	o := operation("promote", http.MethodPost, "/api/v1/promotions", "Make this instance the active, or ask what that would lose",
		http.StatusConflict, http.StatusNotFound, http.StatusServiceUnavailable)
	o.DefaultStatus = http.StatusAccepted
	o.Responses["200"] = describe("What a dry run found", content[agent.Preflight](a, "application/json"))
	o.Responses["202"] = describe("The promotion has begun", content[agent.PromotionStatus](a, "application/json"))
	register(a, o, a.promote)
	a.addPromotion()
	register(a, operation("cancel-promotion", http.MethodDelete, "/api/v1/promotions/{id}", "Give up a promotion that has not committed",
		http.StatusConflict, http.StatusNotFound), a.cancelPromotion)
}

func (a *api) promote(ctx context.Context, in *promoteInput) (*promoteOutput, error) {
	var r PromotionRequest
	if in.Body != nil {
		r = *in.Body
	}
	req := agent.PromoteRequest{
		Backup: r.Backup, Mode: r.Mode, Shown: r.Shown, DryRun: r.DryRun,
		AllowVersionMismatch: r.AllowVersionMismatch, AllowFailedRehearsal: r.AllowFailedRehearsal, WaiveSalvage: r.WaiveSalvage, HostIsOff: r.HostIsOff,
		AppIsStopped: r.AppIsStopped,
		By:           caller(ctx), Reason: r.Reason,
	}
	if r.DryRun {
		found, err := a.agent.Preflight(ctx, req)
		return &promoteOutput{Status: http.StatusOK, Body: found}, err
	}
	id, err := a.agent.Promote(ctx, req)
	if err != nil {
		return nil, err
	}
	status, found := a.agent.Promotion(id)
	if !found {
		status = agent.PromotionStatus{ID: id, State: agent.PromotionRunning, Mode: req.Mode}
	}
	return &promoteOutput{Status: http.StatusAccepted, Body: status, Location: "/api/v1/promotions/" + url.PathEscape(id)}, nil
}

func (a *api) cancelPromotion(ctx context.Context, in *promotionInput) (*struct{}, error) {
	status, err := a.promotion(in.ID)
	switch {
	case err != nil && in.ID == currentPromotion:
		return nil, problem(http.StatusConflict, "no promotion is under way on this instance")
	case err != nil:
		return nil, err
	case status.State != agent.PromotionRunning:
		return nil, problem(http.StatusConflict, fmt.Sprintf("the promotion %s has ended: %s", status.ID, status.State))
	}
	return nil, a.agent.CancelPromotion(ctx)
}

// promotion looks up a promotion, or the current one.
func (a *api) promotion(id string) (agent.PromotionStatus, error) {
	if id == currentPromotion {
		switch s := a.agent.Status(); {
		case s.Promotion != nil:
			id = s.Promotion.ID
		case s.Last != nil:
			id = s.Last.ID
		default:
			return agent.PromotionStatus{}, problem(http.StatusNotFound, "there has been no promotion on this instance since its agent started")
		}
	}
	status, found := a.agent.Promotion(id)
	if !found {
		return status, problem(http.StatusNotFound, "this agent knows no promotion "+strconv.Quote(id))
	}
	return status, nil
}
