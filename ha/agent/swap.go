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
			return "", fmt.Errorf("%w: %s: stop what runs there", errHeld, holder.Names(found.Holders))
		}
		if err := wait(ctx, holdersAgain); err != nil {
			return "", err
		}
	}
}
