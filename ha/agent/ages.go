package agent

import (
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/report"
)

// AgeSample is how much of each log a failover would have lost, at most, in the time up to
// it.
type AgeSample struct {
	Time time.Time          `json:"time"`
	Ages map[string]float64 `json:"ages"` // seconds, by source; one that was not known all the time is missing
}

const (
	agesEvery = 30 * time.Second
	mostAges  = 2880 // a day of them
)

// ages remembers how old the recovery points of logs were that this instance ships, for
// people, since this process began. It is safe for concurrent use.
type ages struct {
	mu      sync.Mutex
	samples []AgeSample // oldest first
	worst   map[string]float64
	since   time.Duration // when worst was begun
}

// unknownAge is that of a log of which it is not known.
const unknownAge = -1

// note takes in how old they are now.
func (g *ages) note(now ha.Now, all []report.StreamStatus) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.worst == nil {
		g.worst, g.since = make(map[string]float64), now.Mono
	}
	for _, s := range all {
		if s.Replica {
			continue
		}
		age := s.Age
		if s.Stream == "" || !s.Based {
			age = unknownAge
		}
		switch worst, seen := g.worst[s.Source]; {
		case age < 0 || seen && worst < 0:
			g.worst[s.Source] = unknownAge
		default:
			g.worst[s.Source] = max(worst, age)
		}
	}
	if now.Mono-g.since < agesEvery {
		return
	}
	if len(g.worst) > 0 {
		g.add(now.Wall.UTC())
	}
	g.worst = nil
}

// add ends a sample. The caller holds the lock.
func (g *ages) add(at time.Time) {
	s := AgeSample{Time: at, Ages: make(map[string]float64)}
	for source, age := range g.worst {
		if age >= 0 {
			s.Ages[source] = age
		}
	}
	if len(g.samples) == mostAges {
		g.samples = slices.Delete(g.samples, 0, 1)
	}
	g.samples = append(g.samples, s)
}

// LogAges is how old the recovery points of the logs were that this instance ships, oldest
// first.
func (a *Agent) LogAges() []AgeSample {
	a.ages.mu.Lock()
	defer a.ages.mu.Unlock()
	return slices.Clone(a.ages.samples)
}
