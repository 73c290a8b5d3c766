package sim

import (
	"math/rand/v2"
	"time"

	"github.com/understudy-ha/understudy/ha"
)

// Options shape a run. What is left zero is drawn from the seed.
type Options struct {
	Seed     uint64
	Hosts    int
	Fencing  ha.FencingMode
	Faults   *Faults
	Duration time.Duration // of trouble; afterwards everything heals
	Streams  *StreamFaults // the application's log is shipped in streams; nil: it is not
	Copies   bool          // hosts are copied and put back in every run, not in one of three
	Trace    func(format string, args ...any)

	// Wrap stands between every process and what carries out its effects.
	Wrap func(p *Process, next Runner) Runner
	// Clock changes what a host's clocks show.
	Clock func(h *Host, now ha.Now) ha.Now
}

// Runner carries out one effect. Effects with an ID are answered through done,
// once, at some later time.
type Runner func(e ha.Effect, done func(ha.Done))

// Faults says what goes wrong, and how often.
type Faults struct {
	Request     float64 // share of requests to the store that go wrong
	Work        float64 // share of backups, pulls, restores and hooks that fail
	Start       float64 // share of promote hooks that fail, with the application running or not
	Discard     float64 // share of replaced states that cannot be set aside
	Stuck       float64 // share of hosts on which they never can be, not even when everything has healed
	Unstoppable float64 // share of hosts on which nothing can stop the application but people
	Corrupt     float64 // share of downloads that are corrupted
	Crash       float64 // share of effects before or after which the agent crashes
	Orphan      float64 // share of crashes that the application outlives under strict fencing: nothing supervises it
	Drift       float64 // most that a clock goes too fast or too slow
	Hooks       bool    // hooks hang, and take as long as they may

	Every   time.Duration // between two troubles, about
	Trouble Weights
	Operate time.Duration // between two acts of an operator, about
	Rash    bool          // operators also override, waive, and choose old backups
}

// Weights say how often each kind of trouble comes, in relation to the others.
type Weights struct {
	Crash, Reboot, Cut, Deaf, Stop, Suspend, Copy, Rollback, Quit, Rot, Foreign, Harm, Vanish, PutBack, Astray, Hang, Revert, Stale, Delete int
}

// maxDrift is how wrong a clock's rate can be while every promise holds. The
// margin would bear more: strict fencing compares TTL minus margin on one
// host's clock with TTL plus margin on another's.
const maxDrift = 0.05

// Quiet is a world in which nothing goes wrong.
func Quiet() *Faults { return &Faults{Operate: time.Minute} }

// draw picks what goes wrong in a run: not everything in every run, since one
// fault can keep another from mattering.
func draw(rng *rand.Rand) *Faults {
	some := func(p float64) float64 {
		if rng.IntN(3) == 0 {
			return 0
		}
		return p * rng.Float64()
	}
	weight := func(n int) int { return n * rng.IntN(3) }
	f := &Faults{
		Request: some(0.2), Work: some(0.1), Start: some(0.9), Corrupt: some(0.3), Crash: some(0.01), Drift: some(maxDrift),
		Hooks: rng.IntN(2) == 0,
		Every: 5*time.Second + time.Duration(rng.Int64N(int64(80*time.Second))),
		Trouble: Weights{
			Crash: weight(4), Reboot: weight(1), Cut: weight(4), Deaf: weight(2),
			Stop: weight(2), Suspend: weight(2), Quit: weight(1),
		},
		Operate: 15*time.Second + time.Duration(rng.Int64N(int64(2*time.Minute))),
		Rash:    rng.IntN(2) == 0,
	}
	f.Trouble.Rot = f.Trouble.Deaf
	if rng.IntN(3) == 0 { // needs an operator: not in every run
		f.Trouble.Copy, f.Trouble.Rollback, f.Trouble.Revert = weight(1), weight(1), weight(2)
	}
	if rng.IntN(3) == 0 { // likewise
		f.Trouble.PutBack, f.Trouble.Astray = weight(1), weight(1)
	}
	f.Discard, f.Stuck, f.Trouble.Foreign = some(0.9), some(0.5), weight(2)
	f.Trouble.Harm, f.Trouble.Vanish = weight(2), weight(2)
	f.Orphan, f.Trouble.Hang = some(1), weight(2)
	f.Unstoppable = some(0.5)
	f.Trouble.Stale, f.Trouble.Delete = weight(2), weight(2)
	return f
}
