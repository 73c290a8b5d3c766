package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/understudy-ha/understudy/ha/promotions"
)

// currentPromotion stands for the id of the promotion that is under way, or of
// the last one.
const currentPromotion = "current"

type promoteInput struct{ Body *promotions.PromotionRequest }

type promoteOutput struct {
	Status   int
	Location string `header:"Location"`
	Body     any    // promotions.Preflight of a dry run, promotions.PromotionStatus otherwise
}

type promotionInput struct {
	Accept string `header:"Accept"`
	ID     string `path:"id" minLength:"1" maxLength:"256" doc:"a promotion's id, or current"`
}

// promotionCalls answer what is asked about promotions.
type promotionCalls struct {
	of       Promotions
	instance Instance
}

func (a *api) addPromotions(p promotionCalls) {
	o := operation("promote", http.MethodPost, "/api/v1/promotions", "Make this instance the active, or ask what that would lose",
		http.StatusConflict, http.StatusNotFound, http.StatusServiceUnavailable)
	o.DefaultStatus = http.StatusAccepted
	o.Responses["200"] = describe("What a dry run found", content[promotions.Preflight](a, "application/json"))
	o.Responses["202"] = describe("The promotion has begun", content[promotions.PromotionStatus](a, "application/json"))
	register(a, o, p.promote)
	a.addPromotion(p)
	register(a, operation("cancel-promotion", http.MethodDelete, "/api/v1/promotions/{id}", "Give up a promotion that has not committed",
		http.StatusConflict, http.StatusNotFound), p.cancel)
}

func (p promotionCalls) promote(ctx context.Context, in *promoteInput) (*promoteOutput, error) {
	var req promotions.PromotionRequest
	if in.Body != nil {
		req = *in.Body
	}
	if req.DryRun {
		found, err := p.of.Preflight(ctx, req)
		return &promoteOutput{Status: http.StatusOK, Body: found}, err
	}
	id, err := p.of.Promote(ctx, req)
	if err != nil {
		return nil, err
	}
	status, found := p.of.Promotion(id)
	if !found {
		status = promotions.PromotionStatus{ID: id, State: promotions.PromotionRunning, Mode: req.Mode}
	}
	return &promoteOutput{Status: http.StatusAccepted, Body: status, Location: "/api/v1/promotions/" + url.PathEscape(id)}, nil
}

func (p promotionCalls) cancel(ctx context.Context, in *promotionInput) (*struct{}, error) {
	status, err := p.find(in.ID)
	switch {
	case err != nil && in.ID == currentPromotion:
		return nil, problem(http.StatusConflict, "no promotion is under way on this instance")
	case err != nil:
		return nil, err
	case status.State != promotions.PromotionRunning:
		return nil, problem(http.StatusConflict, fmt.Sprintf("the promotion %s has ended: %s", status.ID, status.State))
	}
	return nil, p.of.CancelPromotion(ctx)
}

// find looks up a promotion, or the current one.
func (p promotionCalls) find(id string) (promotions.PromotionStatus, error) {
	if id == currentPromotion {
		switch s := p.instance.Status(); {
		case s.Promotion != nil:
			id = s.Promotion.ID
		case s.Last != nil:
			id = s.Last.ID
		default:
			return promotions.PromotionStatus{}, problem(http.StatusNotFound, "there has been no promotion on this instance since its agent started")
		}
	}
	status, found := p.of.Promotion(id)
	if !found {
		return status, problem(http.StatusNotFound, "this agent knows no promotion "+strconv.Quote(id))
	}
	return status, nil
}
