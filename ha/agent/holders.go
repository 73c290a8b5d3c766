package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/restore"
)

// Nothing is swapped under somebody who has it open: who has would go on with
// files that are deleted, and what is written to them is in no backup.

const (
	// holdersGrace is how long whoever has a source open has to let go of it: an
	// application that was just stopped, a program that reads a file once.
	holdersGrace = 2 * time.Second
	holdersAgain = 100 * time.Millisecond
	// standbyLook is how often a standby looks whether an application runs there.
	standbyLook = 30 * time.Second
)

// errHeld means that somebody has open what is about to be replaced.
var errHeld = errors.New("somebody has open what is replaced")

// swapIn puts the staged state into place, with nobody having open what it
// replaces, before or after.
func (a *Agent) swapIn(ctx context.Context) ha.Done {
	blind, err := nobodyHas(ctx, a.cfg.Clock, a.swap().Live)
	if err != nil {
		return failed(err)
	}
	var ended source.Ended
	err = a.swap().Swap(source.WithEnded(ctx, &ended))
	a.tellEnded(ctx, &ended)
	if err != nil {
		return failed(err)
	}
	// Somebody may have opened it just before it was replaced.
	if _, err := nobodyHas(ctx, a.cfg.Clock, a.swap().Replaced); err != nil {
		return failed(err)
	}
	var notes []string
	if who := ended.String(); who != "" {
		notes = append(notes, "it ended "+who)
	}
	if blind != "" {
		notes = append(notes, "whether somebody has open what was replaced is not wholly known: "+blind)
	}
	return ha.Done{Note: strings.Join(notes, "; ")}
}

// tellEnded names the sessions of a database that a swap has ended: what they had
// not committed is gone, and what they were for may go on by itself.
func (a *Agent) tellEnded(ctx context.Context, ended *source.Ended) {
	if who := ended.String(); who != "" {
		a.tell.Note(ctx, event.Warn, "promotion", "the swap ended "+who+": whoever was connected before a promotion should have been stopped by the demote hook", nil)
	}
}

// rollBack puts the replaced state back, with nobody having open what it takes
// away.
func (a *Agent) rollBack(ctx context.Context) ha.Done {
	state, _, err := a.swap().State()
	if err != nil {
		return failed(err)
	}
	if state == restore.Swapped {
		if _, err := nobodyHas(ctx, a.cfg.Clock, a.swap().Live); err != nil {
			return failed(err)
		}
	}
	var ended source.Ended
	err = a.swap().Rollback(source.WithEnded(ctx, &ended))
	a.tellEnded(ctx, &ended)
	return failed(err)
}

// nobodyHas waits, for a bounded time, until nobody has any of the places open,
// and says what it could not look at.
func nobodyHas(ctx context.Context, clock clock.Clock, where func() ([]holder.Place, error)) (blind string, err error) {
	places, err := where()
	if err != nil {
		return "", err
	}
	for until := clock.Now().Mono + holdersGrace; ; {
		found, err := holder.Find(ctx, places, nil)
		if err != nil {
			return "", err
		}
		if len(found.Holders) == 0 {
			return found.Blind, nil
		}
		if clock.Now().Mono >= until {
			return "", fmt.Errorf("%w: %s: stop what runs there", errHeld, describeHolders(found.Holders))
		}
		if err := wait(ctx, holdersAgain); err != nil {
			return "", err
		}
	}
}

// maxHolders is how many are named.
const maxHolders = 3

func describeHolders(all []holder.Holder) string {
	var names []string
	for _, h := range all[:min(len(all), maxHolders)] {
		names = append(names, h.String())
	}
	if n := len(all) - maxHolders; n > 0 {
		names = append(names, fmt.Sprintf("%d more", n))
	}
	return strings.Join(names, ", ")
}

// keepLooking looks every now and then whether an application runs on a standby,
// whether the fencing can be kept, and whether there is room for what the agent must write.
func (a *Agent) keepLooking(ctx context.Context) error {
	return a.whenAdmitted(ctx, func() time.Duration {
		a.lookForApplication(ctx)
		a.lookAtFencing(ctx)
		a.lookAtRoom(ctx)
		a.lookAtFolders(ctx)
		return standbyLook
	})
}

// The look at a standby's application: its trouble's kind and key.
const (
	kindApplication   = "application"
	troubleRunsAnyway = "on a standby"
)

// lookForApplication raises a trouble while somebody may write to what a
// promotion of this standby would replace. Who only reads there does no harm
// before a promotion.
func (a *Agent) lookForApplication(ctx context.Context) {
	core := a.state.View()
	if core.Role != ha.RoleStandby || core.Promotion != nil || core.Demotion != nil {
		a.tell.TroubleOver(ctx, kindApplication, troubleRunsAnyway, "this instance is no standby any more, or is about to be none")
		return
	}
	who, err := a.whoWrites(ctx)
	switch {
	case who != "":
		a.tell.Trouble(ctx, kindApplication, troubleRunsAnyway, fmt.Sprintf("an application runs on this standby: %s; what it writes is in no backup and is lost in a promotion: stop it, and see to it that nothing but Understudy starts it", who))
	case err == nil: // a place or a server that is not there shows elsewhere
		a.tell.TroubleOver(ctx, kindApplication, troubleRunsAnyway, "no application runs on this standby any more")
	}
}

// whoWrites names somebody who has the live state open for writing, or is
// connected to it; "" for nobody.
func (a *Agent) whoWrites(ctx context.Context) (string, error) {
	found, err := a.holders(ctx)
	if err == nil && len(found.Holders) > 0 && found.Holders[0].Writes {
		return found.Holders[0].String(), nil
	}
	for _, src := range a.live().Sources {
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

// holders looks who has the live state open, but for the programs that this
// agent runs.
func (a *Agent) holders(ctx context.Context) (holder.Found, error) {
	places, err := a.swap().Live()
	if err != nil {
		return holder.Found{}, err
	}
	return a.cfg.find(ctx, places, holder.Children())
}

// checkHolders says who has open what a promotion would replace. That is in its
// way only where no demote hook could stop it.
func (p *Preflight) checkHolders(ctx context.Context, a *Agent) {
	found, err := a.holders(ctx)
	var text []string
	if len(found.Holders) > 0 {
		text = append(text, describeHolders(found.Holders))
		if a.cfg.Application == nil && len(a.live().Hooks.Demote.Command) == 0 {
			err = errors.New(text[0] + ": stop it, or configure a demote hook that does")
		} else {
			text = append(text, "the demote hook has to stop it, or the promotion will be given up")
		}
	}
	if found.Blind != "" {
		text = append(text, found.Blind)
	}
	p.check("open files", err)
	if last := &p.Checks[len(p.Checks)-1]; last.OK && len(text) > 0 {
		last.Detail = strings.Join(text, "; ")
	}
}
