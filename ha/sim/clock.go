package sim

import (
	"time"

	"github.com/understudy-ha/understudy/ha"
)

// clock is a host's clocks. The simulated world's time is true; a host's
// passes at a rate of its own, and its monotonic clock stands still while the
// host is suspended.
type clock struct {
	rate   float64       // of the host's seconds to true ones
	booted time.Duration // true time
	slept  time.Duration // true time spent suspended since
	skew   time.Duration // of the wall clock
}

func (c clock) read(now time.Duration) ha.Now {
	up := now - c.booted
	return ha.Now{
		Mono: c.scale(up - c.slept),
		Boot: c.scale(up),
		Wall: time.Unix(1e9, 0).Add(now + c.skew).UTC(),
	}
}

// scale turns true time into the host's.
func (c clock) scale(d time.Duration) time.Duration { return time.Duration(float64(d) * c.rate) }

// lasts is how long in true time d on the host's clock takes.
func (c clock) lasts(d time.Duration) time.Duration { return time.Duration(float64(d) / c.rate) }
