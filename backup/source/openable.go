package source

import "github.com/understudy-ha/understudy/backup/holder"

// Openable is a Restorer whose state lies in files that somebody may have open while
// a swap replaces them. One whose sessions Swap ends itself is none.
type Openable interface {
	// Live is where the live state lies that Swap would replace, or SwapBack take
	// away.
	Live() ([]holder.Place, error)
	// Replaced is where the state lies that Swap has replaced.
	Replaced() ([]holder.Place, error)
}
