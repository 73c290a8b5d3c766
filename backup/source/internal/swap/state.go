package swap

import (
	"fmt"

	"github.com/understudy-ha/understudy/backup/source"
)

// State is how far a swap has come, as far as it can be read off what there is:
//
//	Staged, with or without Target            staged
//	Staged, Moved                             what lies beside the target is moved
//	Staged, no Target, Replaced or Absent     about to be put into place, or just taken back
//	Target, Replaced or Absent                swapped
type State struct {
	Staged   bool
	Target   bool
	Replaced bool // what the swap took out of the target's place
	Absent   bool // a mark that there was no target
	Moved    bool // some of what lies beside the target was moved aside
}

// Exists fills in one part of a state: whether there is something of that name.
type Exists struct {
	Name string
	To   *bool
}

// Parts are the names in their order, with what is to be filled in for each.
func (s *State) Parts(staged, target, replaced, absent string) []Exists {
	return []Exists{{staged, &s.Staged}, {target, &s.Target}, {replaced, &s.Replaced}, {absent, &s.Absent}}
}

// taken tells that the target's place has been the swap's.
func (s *State) taken() bool { return s.Replaced || s.Absent }

// Begun tells that some step of a swap is done.
func (s *State) Begun() bool { return s.taken() || s.Moved }

// Reach tells how far the swap has come.
func (s *State) Reach() source.Reach {
	switch {
	case s.taken() && s.Target && !s.Staged:
		return source.ReachPlaced
	case s.Begun():
		return source.ReachBegun
	case s.Staged:
		return source.ReachStaged
	}
	return source.ReachNone
}

// CheckSwap tells whether a swap of the target has been done already, and fails where
// it cannot be done.
func (s *State) CheckSwap(target string) (done bool, err error) {
	switch {
	case !s.Staged && s.Target && s.taken():
		return true, nil
	case !s.Staged:
		return false, ErrNothingStaged
	}
	return false, s.checkRemade(target)
}

// CheckSwapBack tells whether there is anything to put back, and fails where that
// cannot be done.
func (s *State) CheckSwapBack(target string) (begun bool, err error) {
	if !s.Staged {
		return s.taken(), nil
	}
	return s.taken(), s.checkRemade(target)
}

// checkRemade fails where somebody has made a target while the stage waits to be put
// into its place.
func (s *State) checkRemade(target string) error {
	if s.Target && s.taken() {
		return fmt.Errorf("%s was made again in the midst of a swap", target)
	}
	return nil
}

// CheckDiscard fails where a swap is neither finished nor taken back.
func (s *State) CheckDiscard() error {
	if s.Staged && s.Begun() || s.Replaced && !s.Target {
		return source.ErrUnfinished
	}
	return nil
}
