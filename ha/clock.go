package ha

import "time"

// Now is one reading of an instance's clocks. Only Mono and Boot decide
// anything; Wall is for people.
type Now struct {
	Mono time.Duration // monotonic clock, any origin; may stand still in suspend
	Boot time.Duration // boot-time clock, any origin; counts suspend
	Wall time.Time
}

// Since is how long ago an earlier look was, by whichever clock has advanced more: one of
// them may stand still in suspend.
func (n Now) Since(earlier Now) time.Duration {
	return max(n.Mono-earlier.Mono, n.Boot-earlier.Boot)
}

// instant is a point on an instance's own time line, which advances by
// whichever of its clocks advanced more, so that suspend counts.
type instant = time.Duration

const never = instant(1<<63 - 1)
