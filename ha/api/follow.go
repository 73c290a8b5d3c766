package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/promotions"
)

// Names of the events of a promotion's stream.
const (
	eventStep   = "step"
	eventStatus = "status"
	eventEnd    = "end"
)

// addPromotion adds one promotion's description, and its stream.
func (a *api) addPromotion(p promotionCalls) {
	o := operation("get-promotion", http.MethodGet, "/api/v1/promotions/{id}", "How far a promotion is; as a stream for those who accept text/event-stream", http.StatusNotFound)
	o.Responses["200"] = describe("The promotion; as a stream, each step, every change, and the end",
		content[promotions.PromotionStatus](a, "application/json"), streamContent(content[promotions.PromotionStatus](a, eventStream)))
	register(a, o, func(_ context.Context, in *promotionInput) (*huma.StreamResponse, error) {
		changed := p.instance.Changed() // before the look, so that no change is missed
		status, err := p.find(in.ID)
		if err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			if wantsStream(in.Accept) {
				a.follow(ctx, p, status, changed)
				return
			}
			a.answerJSON(ctx, status)
		}}, nil
	})
}

// follower sends what is new about a promotion.
type follower struct {
	*stream
	steps int    // that have been sent
	last  string // the status that was sent, without its steps
}

// show sends what has changed, and reports whether that was the end.
func (f *follower) show(status promotions.PromotionStatus) (ended bool, err error) {
	for ; f.steps < len(status.Steps); f.steps++ {
		if err := f.send(0, eventStep, status.Steps[f.steps]); err != nil {
			return false, err
		}
	}
	if status.State != promotions.PromotionRunning {
		return true, f.send(0, eventEnd, status)
	}
	brief := status
	brief.Steps = []ha.Step(nil)
	text, err := json.Marshal(brief)
	if err != nil || string(text) == f.last {
		return false, err
	}
	f.last = string(text)
	return false, f.send(0, eventStatus, status)
}

// follow sends a promotion's steps until it has ended, or the client
// or the server goes.
func (a *api) follow(ctx huma.Context, p promotionCalls, status promotions.PromotionStatus, changed <-chan struct{}) {
	s, err := a.openStream(ctx)
	if err != nil {
		return // the client is gone, or was told
	}
	defer s.close()
	f := follower{stream: s}
	pings := time.NewTicker(keepAlive)
	defer pings.Stop()
	for {
		if ended, err := f.show(status); ended || err != nil {
			return
		}
		if !a.awaitChange(ctx, f.stream, pings.C, changed) {
			return
		}
		changed = p.instance.Changed()
		next, known := p.of.Promotion(status.ID)
		if !known {
			return
		}
		status = next
	}
}

// awaitChange keeps a stream alive until the agent's status has changed; false
// when the client or the server has gone.
func (a *api) awaitChange(ctx huma.Context, s *stream, pings <-chan time.Time, changed <-chan struct{}) bool {
	for {
		select {
		case <-changed:
			return true
		case <-pings:
			if s.ping() != nil {
				return false
			}
		case <-ctx.Context().Done():
			return false
		case <-a.closing:
			return false
		}
	}
}
