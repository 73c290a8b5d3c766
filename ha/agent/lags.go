package agent

import (
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/report"
)

// LagSample is how far each standby was behind at one time.
type LagSample struct {
	Time time.Time          `json:"time"`
	Lags map[string]float64 `json:"lags"` // seconds, by instance; those whose lag was not known are missing
}

// maxLagSamples is half a day of them.
const maxLagSamples = 720

// lags remembers how far the standbys were behind, for people, since this
// process began. It is safe for concurrent use.
type lags struct {
	mu      sync.Mutex
	samples []LagSample // oldest first
	at      time.Duration
}

// sample takes one, unless the last one is fresh.
func (l *lags) sample(now ha.Now, all []report.InstanceStatus) {
	s := LagSample{Time: now.Wall.UTC(), Lags: make(map[string]float64)}
	for _, i := range all {
		if i.Role == ha.RoleStandby && i.Lag >= 0 {
			s.Lags[i.Name] = i.Lag
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.samples) > 0 && now.Mono-l.at < tableEvery/2 {
		return
	}
	l.at = now.Mono
	if len(l.samples) == maxLagSamples {
		l.samples = slices.Delete(l.samples, 0, 1)
	}
	l.samples = append(l.samples, s)
}

// Lags is how far the standbys were behind, a sample a minute, oldest first.
func (t *Table) Lags() []LagSample {
	t.lags.mu.Lock()
	defer t.lags.mu.Unlock()
	return slices.Clone(t.lags.samples)
}
