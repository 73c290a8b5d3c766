package promotions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
)

// checkRehearsal says what this instance knows of the backup's restorability.
func (p *Preflight) checkRehearsal(o *Promotions, req PromotionRequest, id string) {
	c := Check{Name: "rehearsal", OK: true, Detail: "not rehearsed: the restore runs first"}
	one, found := o.host.Rehearsals.Of(id)
	when := fmt.Sprintf("%s at %s, in %v", one.Result, one.Time.UTC().Format(time.RFC3339), one.Took)
	switch {
	case found && one.Result == ha.RehearsalFailed:
		c.OK, c.Detail = req.AllowFailedRehearsal, ha.RefuseFailed(id, one.Error)
	case found && o.host.State.View().Rehearsed == (ha.Rehearsed{Backup: id}):
		c.Detail = when
	case found:
		c.Detail = when + ", and no longer staged: the restore runs first"
	}
	c.Detail += one.Remarks()
	if c.OK && req.Moment != nil {
		c.Detail = "none is of a moment: the restore runs first"
	}
	p.Checks = append(p.Checks, c)
}

// checkStops looks what is known of the application of the active, where nothing on
// its host can stop that.
func (p *Preflight) checkStops(ctx context.Context, o *Promotions, h *ha.Head, req PromotionRequest) error {
	rec, err := o.host.Control.Instance(ctx, h.Active.Name)
	if err != nil && !errors.Is(err, blobstore.ErrNotFound) && !errors.Is(err, control.ErrUnverified) {
		return err
	}
	name := h.Active.Name
	c := Check{Name: StopsCheck, OK: true, Detail: "good"}
	switch why := ha.RefuseAppIsStopped(h.Fencing.Mode); {
	case req.AppIsStopped && why != "":
		c.OK, c.Detail = false, why
	case rec == nil || !rec.Unstoppable:
	case req.AppIsStopped:
		c.Detail = "nothing on " + name + " can stop the application: that it is stopped is your word, and nobody looks"
	case p.Mode == ha.ModeSwitchover:
		c.OK, c.Detail = false, ha.RefuseSwitchover(name)
	default:
		c.Detail = fmt.Sprintf("nothing on %s can stop the application: if it runs there, it runs on beside the new one until somebody stops it by hand", name)
	}
	p.Checks = append(p.Checks, c)
	return nil
}

// StopsCheck is the name of the check that says what is known of the application of
// an active on whose host nothing can stop it.
const StopsCheck = "stop of the active"

// checkFencing looks whether the fencing lets this instance be the active.
func (p *Preflight) checkFencing(o *Promotions) {
	if err := o.host.RefuseUnstoppable(); err != nil {
		p.check("fencing", errors.New(ha.RefuseStrict(o.host.Instance)))
	}
}
