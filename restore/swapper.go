package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/understudy-ha/understudy/backup/source"
)

// ErrState means that a Swapper is not in a state that allows what was asked.
var ErrState = errors.New("not possible now")

// Swapper stages a backup and swaps it into place for all sources together,
// under a journal of its own in dir, so that a crash at any point ends, after
// Rollback or Finish in a new process, with all sources old or all new. It is
// safe for concurrent use within one process; dir belongs to one process.
type Swapper struct {
	// Step, where it is set before first use, is told of the Steps.
	Step func(point string)
	// Volume, where it is set before first use, is asked before a source is staged
	// or swapped. Its error, ErrVolume, says why it must not be.
	Volume func(ctx context.Context, src source.Source) error

	mu       sync.Mutex // held by whatever changes the state
	journal  *journalDir
	set      *sourceSet
	stager   *stager
	rereader *rereader
}

// NewSwapper works on sources with a journal in dir, which it makes. If a swap
// of other sources is unfinished there, that is ErrSources.
func NewSwapper(dir string, sources []source.Source) (*Swapper, error) {
	s := new(Swapper)
	announce := func(step string, do func() error) error { return announced(s.Step, step, do) }
	s.journal = &journalDir{dir: dir, announce: announce}
	s.set = &sourceSet{all: slices.Clone(sources), announce: announce, volume: s.checkVolume}
	s.stager = &stager{journal: s.journal, set: s.set, statFS: statFS}
	s.rereader = &rereader{changes: &s.mu, journal: s.journal, set: s.set}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("open swap journal in %s: %w", dir, err)
	}
	return s, nil
}

func (s *Swapper) open() error {
	seen := make(map[string]bool)
	for _, src := range s.set.all {
		if seen[src.Name()] {
			return fmt.Errorf("two sources have the name %s", src.Name())
		}
		seen[src.Name()] = true
	}
	if err := os.MkdirAll(s.journal.dir, 0o700); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(s.journal.dir)); err != nil {
		return err
	}
	if err := s.journal.clean(); err != nil {
		return err
	}
	var err error
	if s.set.asides, err = openAsides(s.journal.dir); err != nil {
		return err
	}
	j, err := s.journal.read()
	if err != nil || !j.State.replaced() {
		return err
	}
	if err := s.set.match(j.unfinished(), j.Sources); err != nil {
		return fmt.Errorf("%w: configure the sources as they were, until it has ended", err)
	}
	return nil
}

// clean removes what a crash left of a journal that was being written.
func (d *journalDir) clean() error {
	entries, err := os.ReadDir(d.dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "."+journalFile) || strings.HasPrefix(e.Name(), "."+asidesFile) || strings.HasPrefix(e.Name(), "."+rereadFile) {
			err = errors.Join(err, os.Remove(filepath.Join(d.dir, e.Name())))
		}
	}
	return err
}

// replaced tells whether replaced states may be lying beside their sources.
func (s State) replaced() bool {
	return s == Swapping || s == Swapped || s == Restoring || s == Finishing
}

func (j *journal) unfinished() string {
	return fmt.Sprintf("the unfinished restore of backup %s (%s)", j.Backup, j.State)
}

// State tells how far the Swapper has come, and with which backup. Staged means
// that the backup is rehearsed: a Swap is all that it takes to put it into
// place, as long as its fingerprints hold, which Stage and Swap look at. A stage of
// other sources than those configured here is none.
func (s *Swapper) State() (state State, backupID string, err error) {
	j, err := s.journal.read()
	if j.State == Staged && s.set.match("", j.Sources) != nil {
		return Idle, "", err
	}
	return j.State, j.Backup, err
}

// Whole is ErrState while a swap, or the way back from one, has stopped half-way: what
// is in place is then neither the old state nor the new one.
func (s *Swapper) Whole() error {
	j, err := s.journal.read()
	if err == nil && (j.State == Swapping || j.State == Restoring) {
		err = fmt.Errorf("%w: %s has stopped half-way", ErrState, j.unfinished())
	}
	return err
}

// Swap puts the staged state of every source into place, keeping what it
// replaces. If one source fails, those already swapped are swapped back, and
// nothing stays staged. A Swap that a crash interrupted may be run again;
// after a whole one it does nothing. Without a stage it is ErrState; when a
// stage is not as it was left it is ErrTouched, nothing was touched, and the
// backup counts as staged no more.
func (s *Swapper) Swap(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.journal.read()
	if err == nil {
		err = s.swap(ctx, j)
	}
	if err != nil {
		return fmt.Errorf("swap in backup %s: %w", j.Backup, err)
	}
	return nil
}

func (s *Swapper) swap(ctx context.Context, j journal) error {
	switch j.State {
	case Swapped:
		return nil
	case Staged, Swapping:
	default:
		return fmt.Errorf("%w: no backup is staged (%s)", ErrState, j.State.describe())
	}
	if err := s.set.match("the staged backup "+j.Backup, j.Sources); err != nil {
		return err
	}
	if err := errors.Join(ctx.Err(), s.set.checkVolumes(ctx, j.placed(s.set.all))); err != nil {
		return err
	}
	if j.State == Staged {
		if err := s.stager.checkFingerprints(ctx, j); err != nil {
			return err
		}
	}
	j.Stages = nil // from here on the names tell
	if err := s.journal.write(&j, Swapping); err != nil {
		return err
	}
	for _, src := range j.outerFirst(s.set.all) {
		if err := s.set.onVolume(ctx, "swap", src, func() error { return src.Swap(ctx) }); err != nil {
			return errors.Join(err, s.rollback(ctx, j))
		}
	}
	return s.journal.write(&j, Swapped)
}

// Rollback puts the replaced state of every source back, and sets the stage
// aside then. Where nothing was swapped yet it keeps what is whole: a stage stays
// Staged, and of one that was being built that is kept which the next Stage can
// bring forward (Drop removes it). It may be called in any state, any number of
// times. Once Finish has begun it is ErrState.
func (s *Swapper) Rollback(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.journal.read()
	switch {
	case err != nil:
	case j.State == Idle, j.State == Staged:
		return nil
	case j.State == Staging:
		if err = s.set.unheard(ctx); err == nil {
			err = s.stager.settle(ctx, j)
		}
		if err != nil {
			err = fmt.Errorf("roll back backup %s: %w", j.Backup, err)
		}
		return err
	case j.State == Finishing:
		err = fmt.Errorf("%w: some of what it replaced is gone already: finish it", ErrState)
	case j.State.replaced():
		err = s.set.match(j.unfinished(), j.Sources)
	}
	if err == nil {
		err = s.rollback(ctx, j)
	}
	if err != nil {
		return fmt.Errorf("roll back backup %s: %w", j.Backup, err)
	}
	return nil
}

// rollback brings all sources back, newest change first. It goes on when one
// fails, and when ctx is cancelled: to stop half-way is what it must not do.
func (s *Swapper) rollback(ctx context.Context, j journal) error {
	j.Stages = nil
	if err := s.journal.write(&j, s.backwards(j.State)); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	var errs []error
	for _, src := range slices.Backward(j.outerFirst(s.set.all)) {
		back := func() error { return src.SwapBack(ctx) }
		if j.State == Restoring {
			errs = append(errs, s.set.onVolume(ctx, "swap back", src, back))
		} else {
			errs = append(errs, s.set.do("swap back", src, back))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return s.journal.write(&j, Idle)
}

// backwards gives the state in which a rollback runs: a stage that was never
// swapped leaves no replaced state, so its sources may change meanwhile.
func (s *Swapper) backwards(state State) State {
	if state.replaced() {
		return Restoring
	}
	return Staging
}

// Drop sets aside whatever is staged, whole or not: for good, as when this
// instance leaves its cluster or is to rehearse no more. It may be called any
// number of times; with nothing staged it does nothing. While a swap is neither
// rolled back nor finished it is ErrState.
func (s *Swapper) Drop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.journal.read()
	switch {
	case err != nil:
	case j.State == Idle && len(j.Stages) == 0:
		return nil
	case j.State == Finishing:
		err = s.finish(ctx, j)
	case j.State.replaced():
		err = fmt.Errorf("%w: %s has to be rolled back or finished first", ErrState, j.unfinished())
	default:
		if err = s.set.unheard(ctx); err == nil {
			err = s.rollback(ctx, j)
		}
	}
	if err != nil {
		return fmt.Errorf("drop the stage: %w", err)
	}
	return nil
}

// Finish sets the replaced states aside, for Sweep. Rollback is not possible any
// more. It may be called again after a crash; with nothing swapped in and nothing
// left over it does nothing. Before a whole Swap it is ErrState.
func (s *Swapper) Finish(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.journal.read()
	if err == nil {
		err = s.finish(ctx, j)
	}
	if err != nil {
		return fmt.Errorf("finish swap of backup %s: %w", j.Backup, err)
	}
	return nil
}

func (s *Swapper) finish(ctx context.Context, j journal) error {
	switch j.State {
	case Idle:
		return nil
	case Swapped, Finishing:
	default:
		return fmt.Errorf("%w: it is not swapped in (%s)", ErrState, j.State.describe())
	}
	if err := s.set.match(j.unfinished(), j.Sources); err != nil {
		return err
	}
	if err := s.journal.write(&j, Finishing); err != nil {
		return err
	}
	var errs []error
	for _, src := range j.outerFirst(s.set.all) {
		errs = append(errs, s.set.onVolume(ctx, "discard", src, func() error { return src.Discard(ctx) }))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return s.journal.write(&j, Idle)
}

func (s State) describe() string {
	if s == Idle {
		return "nothing is staged"
	}
	return "state: " + string(s)
}

// Purge deletes all that was ever staged or set aside here, and the journal: for an
// instance that leaves its cluster. What is left it returns, with the reason, and
// the journal stays then: Purge may be run again. One source's failure keeps no
// other from being purged. While a swap is unfinished it is ErrState.
func (s *Swapper) Purge(ctx context.Context) ([]source.Leftover, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.journal.read()
	if err == nil && j.State.replaced() {
		err = fmt.Errorf("%w: %s has to be rolled back or finished first", ErrState, j.unfinished())
	}
	if err == nil {
		err = s.set.unheard(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("delete what is staged: %w", err)
	}
	left := s.set.purge(ctx, j)
	if err := ctx.Err(); err != nil {
		return left, err
	}
	swept, err := s.Sweep(ctx)
	left = append(left, swept...)
	if err != nil {
		left = append(left, source.Leftover{Path: "what was set aside", Bytes: -1, Reason: err.Error()})
	}
	if len(left) > 0 {
		return left, nil
	}
	return nil, os.RemoveAll(s.journal.dir)
}
