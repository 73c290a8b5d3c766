// Package stage has the stage of a directory: where it is built, and how it takes the place
// of its target and gives the place back. Each step is durable, and may be cut off and run
// again in a new process. A target is exchanged with the stage by name (renaming), or entry
// by entry where it is a mount point (moving). What is in a stage, it does not know.
package stage

import (
	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
)

// Placement is how a stage takes the place of a target.
type Placement interface {
	At() *Stage
	// Inside tells that the stage lies within the target, which is a mount point.
	Inside() bool
	Prepare(parents []meta.Parent) error // before a stage is built
	Swap() error
	Swapped() (bool, error) // the target is the new state, whole
	SwapBack() error
	Discard() error
	Leave() error // once nothing is left of any
	Release()
}

// Of tells how a stage takes the place of the target: by the exchange of two names,
// or entry by entry where the target is a mount point, which has a name that cannot
// be changed. The placement closes the target. Fault is asked before each step.
func Of(target fsx.Place, mountPoint bool, fault func(step string) error) (Placement, error) {
	if !mountPoint {
		x := newRenaming(target)
		x.fault = fault
		return x, nil
	}
	m, err := newMoving(target)
	if err != nil {
		target.Close()
		return nil, err
	}
	m.fault = fault
	return m, nil
}
