package promotions

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/requests"
)

// Promote makes this instance the active. It checks all that Preflight checks,
// and returns the promotion's id once it has begun; WaitPromotion tells how it
// ends. With DryRun nothing is begun and the id is "". What would be unsafe is
// a *ha.Refusal.
func (o *Promotions) Promote(ctx context.Context, req PromotionRequest) (string, error) {
	p, chosen, err := o.preflight(ctx, req)
	if err != nil {
		return "", fmt.Errorf("promote: %w", err)
	}
	if !p.OK {
		return "", fmt.Errorf("promote: %w", &ha.Refusal{Reason: p.refusal()})
	}
	if req.DryRun {
		return "", nil
	}
	by := cmp.Or(event.Actor(ctx), "an operator")
	id, answer, err := o.host.Asking.Ask(ctx, func(id string) ha.Event {
		return ha.Promote{
			Request: id, Mode: p.Mode, Chosen: chosen.backup, Moment: req.Moment, Shown: chosen.shown,
			By: by, Reason: req.Reason, WaiveSalvage: req.WaiveSalvage, AllowFailedRehearsal: req.AllowFailedRehearsal,
			WithoutLog: req.WithoutLog, HostIsOff: req.HostIsOff, AppIsStopped: req.AppIsStopped,
		}
	})
	if err != nil {
		return "", fmt.Errorf("promote: %w", err)
	}
	select {
	case e := <-answer:
		if core := o.host.State.View(); e.Refused != nil && (core.Last == nil || core.Last.ID != id) {
			return "", fmt.Errorf("promote: %w", e.Refused)
		}
	default:
		o.host.Asking.Forget(id)
	}
	return id, nil
}

// refusal says what keeps a promotion from being made.
func (p *Preflight) refusal() string {
	var why []string
	for _, c := range p.Checks {
		if !c.OK {
			why = append(why, c.Detail)
		}
	}
	return strings.Join(why, "; ")
}

// Promotion describes a promotion on this instance; false when this process
// knows none with this id.
func (o *Promotions) Promotion(id string) (PromotionStatus, bool) {
	core, at := o.host.State.ViewAt()
	o.mu.Lock()
	defer o.mu.Unlock()
	if p := core.Promotion; p != nil && p.ID == id {
		s := PromotionStatus{
			ID: id, State: PromotionRunning, Mode: p.Mode, Moment: p.Moment, Phase: p.Phase, Steps: p.Steps, Error: p.Error, Working: core.Work, Progress: o.host.Progress(),
			Waiting: report.WaitOf(core.Waiting, o.host.Clock.Now().Mono-at.Mono),
		}
		if p.Backup != nil {
			s.Backup = p.Backup.ID
		}
		return s, true
	}
	s, found := o.ended[id]
	return s, found
}

// Remember keeps how the last promotion ended.
func (o *Promotions) Remember(last *ha.Result) {
	if last == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.ended[last.ID]; known {
		return
	}
	s := PromotionStatus{
		ID: last.ID, State: PromotionRolledBack, Backup: last.Backup, Moment: last.Moment, Steps: last.Steps, Error: last.Error, Ended: &last.Time,
		Downtime: time.Duration(last.Downtime).Seconds(),
	}
	if last.Promoted {
		s.State, s.Epoch, s.Phase = PromotionDone, last.Epoch, ha.PhaseFinish
	}
	o.ended[last.ID] = s
}

// WaitPromotion waits until a promotion has ended. Its status says how; an
// unknown id, or an agent that stops meanwhile, is an error.
func (o *Promotions) WaitPromotion(ctx context.Context, id string) (PromotionStatus, error) {
	for {
		changed := o.host.State.Changed()
		s, found := o.Promotion(id)
		switch {
		case !found:
			return s, fmt.Errorf("%w: %s", ErrNoPromotion, id)
		case s.State != PromotionRunning:
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return s, ctx.Err()
		case <-o.host.Stopped:
			return s, requests.ErrStopped
		}
	}
}

// ErrNoPromotion means that this process knows no promotion with the id that
// was asked for.
var ErrNoPromotion = fmt.Errorf("%w: there is no such promotion", ha.ErrInvalid)

// CancelPromotion gives up the promotion under way, which rolls back. Once it
// has committed it is a *ha.Refusal.
func (o *Promotions) CancelPromotion(ctx context.Context) error {
	by := event.Actor(ctx)
	_, err := o.host.Asking.Do(ctx, func(id string) ha.Event { return ha.CancelPromotion{Request: id, By: by} })
	return err
}

// choice is what a promotion restores, as the machine takes it.
type choice struct {
	backup *backup.Ref // nil: the newest
	shown  *backup.Ref // the newest that the operator was shown; nil when none was
}
