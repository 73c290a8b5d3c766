package agent

import (
	"fmt"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
)

// rehearsedOn tells of each backup which instances have rehearsed it, as far as
// this one knows.
func (a *Agent) rehearsedOn() map[string][]control.BackupRehearsal {
	all := make(map[string][]control.BackupRehearsal)
	for _, i := range a.instances(a.state.View()) {
		control.AddRehearsals(all, i.Name, i.Rehearsals)
	}
	return all
}

// checkRehearsal says what this instance knows of the backup's restorability.
func (p *Preflight) checkRehearsal(a *Agent, req PromotionRequest, id string) {
	c := Check{Name: "rehearsal", OK: true, Detail: "not rehearsed: the restore runs first"}
	one, found := a.rehearsals.Of(id)
	when := fmt.Sprintf("%s at %s, in %v", one.Result, one.Time.UTC().Format(time.RFC3339), one.Took)
	switch {
	case found && one.Result == ha.RehearsalFailed:
		c.OK, c.Detail = req.AllowFailedRehearsal, ha.RefuseFailed(id, one.Error)
	case found && a.state.View().Rehearsed == (ha.Rehearsed{Backup: id}):
		c.Detail = when
	case found:
		c.Detail = when + ", and no longer staged: the restore runs first"
	}
	for what, texts := range map[string][]string{"in doubt": one.Doubts, "not checked": one.Unchecked} {
		if found && len(texts) > 0 {
			c.Detail += fmt.Sprintf("; %s: %s", what, strings.Join(texts, "; "))
		}
	}
	p.Checks = append(p.Checks, c)
}
