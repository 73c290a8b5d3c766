package following

import (
	"time"

	"github.com/understudy-ha/understudy/backup/stream"
)

// applied is how far a replica shows its log.
type applied struct {
	to    stream.Position
	known bool         // to is
	time  time.Time    // when the active had read what it shows; zero: that is not known
	later []stream.Tip // what was fed and is not applied, oldest first
}

// mostLater bounds the parts that are remembered: beyond it, times are less exact.
const mostLater = 4096

// fed notes a part that the stage has.
func (a *applied) fed(tip stream.Tip) {
	if n := len(a.later); n == mostLater {
		a.later[n-1] = tip
		return
	}
	a.later = append(a.later, tip)
}

// reach notes up to where the replica has applied it, if that is known.
func (a *applied) reach(to stream.Position, known bool) {
	if a.known = known; !known {
		return
	}
	a.to = to
	for len(a.later) > 0 && a.later[0].To <= to {
		a.time, a.later = a.later[0].Time, a.later[1:]
	}
}
