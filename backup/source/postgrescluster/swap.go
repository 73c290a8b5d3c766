package postgrescluster

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/stage"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
)

// do does something with what lies at the place, and nothing else meanwhile.
func (s *Source) do(verb string, what func(x stage.Placement) error) error {
	s.busy.Lock()
	defer s.busy.Unlock()
	return s.say(verb, s.place.at(what))
}

// Accept implements Restorer.
func (s *Source) Accept(ctx context.Context, e source.Entry) error {
	_, err := s.stager.accept(ctx, e)
	return err
}

// Space implements Restorer.
func (s *Source) Space(e source.Entry) (string, int64) { return s.stager.space(e) }

// Stage implements Restorer. The server may run.
func (s *Source) Stage(ctx context.Context, r *pack.Reader, e source.Entry) error {
	s.busy.Lock()
	defer s.busy.Unlock()
	return s.say("stage %s", s.stager.stage(ctx, r, e))
}

// Fingerprint implements Restorer.
func (s *Source) Fingerprint(context.Context) (print string, err error) {
	err = s.place.at(func(x stage.Placement) error {
		print, err = fingerprint(x.At())
		return err
	})
	return print, s.say("look at the stage of %s", err)
}

// Swap implements Restorer. The server is stopped before, and stays so: Start starts it.
func (s *Source) Swap(ctx context.Context) error {
	return s.do("swap %s", func(x stage.Placement) error {
		if err := endStaged(ctx, x); err != nil {
			return err
		}
		reach, err := reachOf(x)
		if err != nil {
			return err
		}
		if reach == source.ReachPlaced {
			return x.Swap() // perhaps what is left of it; the new server may run
		}
		if err := swappable(x, reach); err != nil {
			return err
		}
		if err := s.process.stopped(ctx); err != nil {
			return err
		}
		return x.Swap()
	})
}

// swappable fails where what is staged cannot be put into place.
func swappable(x stage.Placement, reach source.Reach) error {
	if reach == source.ReachNone {
		return fmt.Errorf("%w at %s", swap.ErrNothingStaged, x.At().Path(x.At().Staged))
	}
	mounted, err := swap.IsMountPoint(x.At().Place)
	if err == nil && mounted {
		err = fmt.Errorf("%s is a mount point, which cannot be renamed", x.At().Target)
	}
	return err
}

// SwapBack implements Restorer. The server is stopped before, and stays so.
func (s *Source) SwapBack(ctx context.Context) error {
	return s.do("swap %s back", func(x stage.Placement) error {
		if err := endStaged(ctx, x); err != nil {
			return err
		}
		reach, err := reachOf(x)
		if err != nil {
			return err
		}
		if reach >= source.ReachBegun {
			if err := s.process.stopped(ctx); err != nil {
				return err
			}
		}
		return x.SwapBack()
	})
}

// Discard implements Restorer.
func (s *Source) Discard(ctx context.Context) error {
	return s.do("discard leftovers of %s", func(x stage.Placement) error {
		return errors.Join(endStaged(ctx, x), x.Discard())
	})
}

// Sweep implements Sweeper.
func (s *Source) Sweep(ctx context.Context) (left []source.Leftover, err error) {
	err = s.place.at(func(x stage.Placement) error {
		left, err = x.At().Asides().Sweep(ctx)
		if err == nil {
			err = errors.Join(sweepRun(ctx, x, s.busy), s.stager.sweepProof(ctx, x))
		}
		return err
	})
	return left, s.say("delete what is left of %s", err)
}

// sweepRun deletes the folder of a socket that no server uses, unless something is staged or
// swapped right now.
func sweepRun(ctx context.Context, x stage.Placement, busy *sync.Mutex) error {
	if x.At().In == nil || !busy.TryLock() {
		return nil
	}
	defer busy.Unlock()
	there, err := x.At().Exists(x.At().Staged)
	if err != nil || there {
		return err
	}
	return removeRun(ctx, x.At().Place)
}

// Reach implements Restorer.
func (s *Source) Reach(context.Context) (reach source.Reach, err error) {
	err = s.do("look how far the swap of %s has come", func(x stage.Placement) error {
		reach, err = reachOf(x)
		return err
	})
	return reach, err
}

func reachOf(x stage.Placement) (source.Reach, error) {
	begun, err := x.At().Exists(x.At().Note)
	if err != nil {
		return source.ReachNone, err
	}
	if begun {
		if swapped, err := x.Swapped(); err != nil || swapped {
			return source.ReachPlaced, err
		}
		return source.ReachBegun, nil
	}
	staged, err := x.At().Exists(x.At().Staged)
	if err != nil || !staged {
		return source.ReachNone, err
	}
	return source.ReachStaged, nil
}

// Keep implements Restorer.
func (s *Source) Keep(context.Context) (kept string, err error) {
	err = s.do("keep what was replaced of %s", func(x stage.Placement) error {
		kept, err = x.At().KeepReplaced()
		return err
	})
	return kept, err
}
