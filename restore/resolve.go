package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/understudy-ha/understudy/backup/source"
)

// Verdict is what is known of a promotion whose swap was interrupted.
type Verdict int

// Verdicts.
const (
	NotKnown  Verdict = iota // there is no record of it, or an older one
	Abandoned                // it has not committed: nothing ran on the new state
	Committed                // it has committed
)

// Resolution is how an interrupted swap ends.
type Resolution string

// Resolutions.
const (
	Settled Resolution = ""           // none was interrupted
	Back    Resolution = "back"       // the old states come back, and the new ones, which the bucket has, go
	Forward Resolution = "forward"    // the new states stay, and the old ones go, as after every promotion
	Kept    Resolution = "kept aside" // the new states stay, and the old ones are kept
)

// ErrUnseen means that a source cannot be looked at, and that the journal knows of
// nothing that was replaced.
var ErrUnseen = errors.New("not every source can be looked at")

// Resolution tells how Resolve would end what is unfinished here. It goes back
// where it is certain that nothing ran on the new states, and forward where they
// were promoted to. Otherwise the new states stay, for they may hold what no
// backup has, and the old ones are kept, for the same reason. The sources
// themselves are looked at, not the journal alone: that may be lost, or an older
// one. One that cannot be looked at is ErrUnseen, unless the journal says more.
func (s *Swapper) Resolution(ctx context.Context, v Verdict) (Resolution, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.journal.read()
	r := Settled
	if err == nil {
		r, err = s.resolution(ctx, j, v)
	}
	if err != nil {
		return r, fmt.Errorf("look for an unfinished restore: %w", err)
	}
	return r, nil
}

func (s *Swapper) resolution(ctx context.Context, j journal, v Verdict) (Resolution, error) {
	unseen := func(err error) error {
		if !j.State.replaced() {
			return fmt.Errorf("%w: %w", ErrUnseen, err)
		}
		return err
	}
	if err := s.set.checkVolumes(ctx, j.placed(s.set.all)); err != nil {
		return Settled, unseen(err)
	}
	var staged, begun, placed bool
	for _, src := range j.placed(s.set.all) {
		reach, err := src.Reach(ctx)
		if err != nil {
			return Settled, unseen(err)
		}
		staged, begun, placed = staged || reach == source.ReachStaged, begun || reach == source.ReachBegun, placed || reach == source.ReachPlaced
	}
	none := !begun && !placed
	switch {
	case none && !j.State.replaced():
		return Settled, nil
	case none && (j.State == Swapped || j.State == Finishing):
		return Forward, nil // nothing is left but the journal
	case none, begun, staged, j.State == Swapping, j.State == Restoring, v == Abandoned:
		return Back, nil
	case v == Committed:
		return Forward, nil
	}
	return Kept, nil
}

// Resolve ends what is unfinished as Resolution has said, and returns where old
// states are kept. It may be called again after a crash.
func (s *Swapper) Resolve(ctx context.Context, r Resolution) (kept []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.journal.read()
	if err == nil && r != Settled {
		kept, err = s.resolve(ctx, j, r)
	}
	if err != nil {
		return kept, fmt.Errorf("end the unfinished restore: %w", err)
	}
	return kept, nil
}

// resolve writes nothing of its own to the journal before the end: until then the
// sources tell again what there is to do. Should what is left then say another
// thing, that is as safe.
func (s *Swapper) resolve(ctx context.Context, j journal, r Resolution) (kept []string, err error) {
	ctx = context.WithoutCancel(ctx) // to stop half-way is what it must not do
	all := j.outerFirst(s.set.all)
	if r == Back {
		slices.Reverse(all)
	}
	var errs []error
	for _, src := range all {
		path, err := s.resolveOne(ctx, src, r)
		errs = append(errs, err)
		if path != "" {
			kept = append(kept, path)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return kept, err
	}
	j.Stages = nil
	return kept, s.journal.write(&j, Idle)
}

func (s *Swapper) resolveOne(ctx context.Context, src source.Source, r Resolution) (kept string, err error) {
	if r == Back {
		return "", s.set.onVolume(ctx, "swap back", src, func() error { return src.SwapBack(ctx) })
	}
	if r == Kept {
		reach, err := src.Reach(ctx)
		if err == nil && reach == source.ReachPlaced {
			err = s.set.onVolume(ctx, "swap", src, func() error { return src.Swap(ctx) }) // its last steps
			if err == nil {
				kept, err = src.Keep(ctx)
			}
		}
		if err != nil {
			return kept, err
		}
	}
	return kept, s.set.onVolume(ctx, "discard", src, func() error { return src.Discard(ctx) })
}
