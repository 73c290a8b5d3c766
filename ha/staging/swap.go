package staging

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/source"
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

// ErrHeld means that somebody has open what is about to be replaced.
var ErrHeld = errors.New("somebody has open what is replaced")

// SwapIn puts the staged state into place, with nobody having open what it
// replaces, before or after. note is what is to be known of that.
func (s *Stage) SwapIn(ctx context.Context) (note string, err error) {
	defer s.change()()
	swapper := s.Swapper()
	blind, err := NobodyHas(ctx, s.cfg.Clock, swapper.Live)
	if err != nil {
		return "", err
	}
	var ended source.Ended
	err = swapper.Swap(source.WithEnded(ctx, &ended))
	s.tellEnded(ctx, &ended)
	if err != nil {
		return "", err
	}
	// Somebody may have opened it just before it was replaced.
	if _, err := NobodyHas(ctx, s.cfg.Clock, swapper.Replaced); err != nil {
		return "", err
	}
	var notes []string
	if who := ended.String(); who != "" {
		notes = append(notes, "it ended "+who)
	}
	if blind != "" {
		notes = append(notes, "whether somebody has open what was replaced is not wholly known: "+blind)
	}
	return strings.Join(notes, "; "), nil
}

// tellEnded names the sessions of a database that a swap has ended: what they had
// not committed is gone, and what they were for may go on by itself.
func (s *Stage) tellEnded(ctx context.Context, ended *source.Ended) {
	if who := ended.String(); who != "" {
		s.cfg.Log.Note(ctx, event.Warn, "promotion", "the swap ended "+who+": whoever was connected before a promotion should have been stopped by the demote hook", nil)
	}
}

// RollBack puts the replaced state back, with nobody having open what it takes
// away.
func (s *Stage) RollBack(ctx context.Context) error {
	defer s.change()()
	swapper := s.Swapper()
	state, _, err := swapper.State()
	if err != nil {
		return err
	}
	if state == restore.Swapped {
		if _, err := NobodyHas(ctx, s.cfg.Clock, swapper.Live); err != nil {
			return err
		}
	}
	var ended source.Ended
	err = swapper.Rollback(source.WithEnded(ctx, &ended))
	s.tellEnded(ctx, &ended)
	return err
}

// Drop drops what is staged.
func (s *Stage) Drop(ctx context.Context) error {
	defer s.change()()
	return withWayOut(s.Swapper().Drop(ctx))
}

// Finish sets aside what a swap has replaced.
func (s *Stage) Finish(ctx context.Context) error {
	defer s.change()()
	return withWayOut(s.Swapper().Finish(ctx))
}

// NobodyHas waits, for a bounded time, until nobody has any of the places open,
// and says what it could not look at.
func NobodyHas(ctx context.Context, c clock.Clock, where func() ([]holder.Place, error)) (blind string, err error) {
	places, err := where()
	if err != nil {
		return "", err
	}
	for until := c.Now().Mono + holdersGrace; ; {
		found, err := holder.Find(ctx, places, nil)
		if err != nil {
			return "", err
		}
		if len(found.Holders) == 0 {
			return found.Blind, nil
		}
		if c.Now().Mono >= until {
			return "", fmt.Errorf("%w: %s: stop what runs there", ErrHeld, holder.Names(found.Holders))
		}
		if err := clock.Wait(ctx, holdersAgain); err != nil {
			return "", err
		}
	}
}
