package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// rehearsedOn tells of each backup which instances have rehearsed it, as far as
// this one knows.
func (a *Agent) rehearsedOn() map[string][]BackupRehearsal {
	all := make(map[string][]BackupRehearsal)
	for _, i := range a.instances(a.view()) {
		addRehearsals(all, i.Name, i.Rehearsals)
	}
	return all
}

// rehearsedOn tells it as the instances' records do. One that cannot be
// verified tells nothing.
func (b *Bucket) rehearsedOn(ctx context.Context) (map[string][]BackupRehearsal, error) {
	all := make(map[string][]BackupRehearsal)
	_, names, err := b.names(ctx, ha.InstancesPrefix)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		rec, err := b.Instance(ctx, name)
		switch {
		case err == nil:
			addRehearsals(all, name, rec.Rehearsals)
		case !errors.Is(err, ErrUnverified) && !errors.Is(err, blobstore.ErrNotFound):
			return nil, err
		}
	}
	return all, nil
}

func addRehearsals(all map[string][]BackupRehearsal, instance string, of []ha.Rehearsal) {
	for _, one := range of {
		all[one.Backup] = append(all[one.Backup], BackupRehearsal{Instance: instance, Rehearsal: one})
	}
}

// checkRehearsal says what this instance knows of the backup's restorability.
func (p *Preflight) checkRehearsal(a *Agent, req PromoteRequest, id string) {
	c := Check{Name: "rehearsal", OK: true, Detail: "not rehearsed: the restore runs first"}
	one, found := a.proofs.of(id)
	when := fmt.Sprintf("%s at %s, in %v", one.Result, one.Time.UTC().Format(time.RFC3339), one.Took)
	switch {
	case found && one.Result == ha.RehearsalFailed:
		c.OK, c.Detail = req.AllowFailedRehearsal, ha.RefuseFailed(id, one.Error)
	case found && a.view().Rehearsed == (ha.Rehearsed{Backup: id}):
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
