package application

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
)

// HoldersConfig is what Holders are given.
type HoldersConfig struct {
	State   State
	Log     event.Reporter
	Sources func() []source.Source // in force
	// Live are the places of the state that a promotion replaces.
	Live func() ([]holder.Place, error)
	// Find looks who has places open; holder.Find does.
	Find func(ctx context.Context, places []holder.Place, skip func(pid int) bool) (holder.Found, error)
}

// Holders looks who has the application's state open on this host.
type Holders struct{ cfg HoldersConfig }

// NewHolders makes one of what it is given.
func NewHolders(cfg HoldersConfig) *Holders { return &Holders{cfg} }

// The look at a standby's application: its trouble's kind and key.
const (
	kindApplication   = "application"
	troubleRunsAnyway = "on a standby"
)

// Look raises a trouble while somebody may write to what a
// promotion of this standby would replace. Who only reads there does no harm
// before a promotion.
func (h *Holders) Look(ctx context.Context) {
	core, _ := h.cfg.State.ViewAt()
	if core.Role != ha.RoleStandby || core.Promotion != nil || core.Demotion != nil {
		h.cfg.Log.TroubleOver(ctx, kindApplication, troubleRunsAnyway, "this instance is no standby any more, or is about to be none")
		return
	}
	who, err := h.writer(ctx)
	switch {
	case who != "":
		h.cfg.Log.Trouble(ctx, kindApplication, troubleRunsAnyway, fmt.Sprintf("an application runs on this standby: %s; what it writes is in no backup and is lost in a promotion: stop it, and see to it that nothing but Understudy starts it", who))
	case err == nil: // a place or a server that is not there shows elsewhere
		h.cfg.Log.TroubleOver(ctx, kindApplication, troubleRunsAnyway, "no application runs on this standby any more")
	}
}

// writer names somebody who has the live state open for writing, or is
// connected to it; "" for nobody.
func (h *Holders) writer(ctx context.Context) (string, error) {
	found, err := h.Find(ctx)
	if err == nil && len(found.Holders) > 0 && found.Holders[0].Writes {
		return found.Holders[0].String(), nil
	}
	for _, src := range h.cfg.Sources() {
		c, ok := src.(source.Connected)
		if !ok {
			continue
		}
		sessions, failed := c.Sessions(ctx)
		if len(sessions) > 0 {
			return strings.Join(sessions, ", "), nil
		}
		err = errors.Join(err, failed)
	}
	return "", err
}

// Find looks who has the live state open, but for the programs that this
// agent runs.
func (h *Holders) Find(ctx context.Context) (holder.Found, error) {
	places, err := h.cfg.Live()
	if err != nil {
		return holder.Found{}, err
	}
	return h.cfg.Find(ctx, places, holder.Children())
}
