package promotions

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/moments"
)

// moment is one that a promotion goes to.
type moment struct {
	time time.Time
	is   *moments.Moment
}

// moment finds what the moment is made of that was asked for, and names its backup in the
// request; nil: none was asked for. One that cannot be reached is a *ha.Refusal.
func (o *Promotions) moment(ctx context.Context, req *PromotionRequest) (*moment, error) {
	switch {
	case req.Moment == nil:
		return nil, nil //nolint:nilnil // there is none
	case req.Backup != "":
		return nil, ha.Invalidf("a moment comes with the newest backup that is not later: name no backup")
	case req.WithoutLog:
		return nil, ha.Invalidf("a moment is in the log: it does not go without the log")
	}
	all, err := o.host.Catalogue.Moments(ctx)
	if err != nil {
		return nil, err
	}
	is, err := all.At(ctx, *req.Moment)
	if err != nil {
		return nil, err
	}
	req.Backup = is.Backup.ID
	return &moment{*req.Moment, is}, nil
}

// manifest is a backup with the entries that are restored: those of a moment are of backups of
// their own.
func (at *moment) manifest(m *backup.Manifest) *backup.Manifest {
	if at == nil {
		return m
	}
	of := *m
	of.Sources = slices.Clone(m.Sources)
	for i, e := range of.Sources {
		for _, item := range at.is.Items {
			if item.Entry.Name == e.Name {
				of.Sources[i] = item.Entry
			}
		}
	}
	return &of
}

// lost says what a promotion to it would lose.
func (at *moment) lost(id string, newer int) string {
	var named []string
	for _, item := range at.is.Items {
		if item.Window != nil {
			named = append(named, item.Entry.Name)
		}
	}
	text := fmt.Sprintf("what came after %s in %s", ha.MomentText(at.time), strings.Join(named, ", "))
	if len(named) < len(at.is.Items) {
		text += ", and after backup " + id + " in the other sources"
	}
	if newer > 0 {
		text += fmt.Sprintf("; %d newer backups would be superseded", newer)
	}
	return text
}
