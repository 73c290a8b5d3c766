package agent

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/restore"
)

// The cache is read in rotation, so that what has rotted there is found before
// it is needed.
const (
	scrubPause  = time.Minute     // between two turns
	scrubPeriod = 24 * time.Hour  // in which the whole cache is read,
	scrubMost   = 2 << 20         // unless that takes more bytes a second than this
	scrubLeast  = 1 << 20         // bytes in a turn, so that a small cache is read sooner,
	scrubRest   = time.Hour       // with a rest between two rounds
	scrubAgain  = 5 * time.Minute // the same, while something cannot be mended
)

const cacheKind = "cache"

// scrubber reads the cache in rotation. It belongs to one goroutine.
type scrubber struct {
	a      *Agent
	budget int64         // bytes in a turn; 0: not known yet in this round
	next   time.Duration // monotonic, when the next round may begin
}

// keepScrubbed reads a part of the cache every minute.
func (a *Agent) keepScrubbed(ctx context.Context) error {
	s := &scrubber{a: a}
	return a.whenAdmitted(ctx, func() time.Duration {
		// A promotion wants the disk for itself.
		if a.view().Promotion == nil && a.cfg.Clock.Now().Mono >= s.next {
			s.turn(ctx)
		}
		return scrubPause
	})
}

// turn reads as much of the cache as is due, and says which cached backups
// cannot be restored from here.
func (s *scrubber) turn(ctx context.Context) {
	const key = "scrub"
	a := s.a
	switch err := s.read(ctx); {
	case ctx.Err() != nil:
	case err != nil:
		a.trouble(ctx, cacheKind, key, fmt.Sprintf("the cache cannot be checked: %v", err))
	default:
		a.troubleOver(ctx, cacheKind, key, "the cache can be checked again")
	}
}

func (s *scrubber) read(ctx context.Context) error {
	a := s.a
	if s.budget == 0 {
		size, err := a.cache.Size()
		if err != nil {
			return err
		}
		s.budget = max(min(size/int64(scrubPeriod/scrubPause), scrubMost*int64(scrubPause/time.Second)), scrubLeast)
	}
	before, err := a.cache.Scrubbed()
	if err != nil {
		return err
	}
	at, bad, err := a.cache.Scrub(ctx, a.repo, s.budget)
	if err != nil {
		return err
	}
	ended := at.Round != before.Round
	if ended {
		s.budget, s.next = 0, a.cfg.Clock.Now().Mono+scrubRest
		if len(bad) > 0 { // somebody may be putting the bucket right
			s.next = a.cfg.Clock.Now().Mono + scrubAgain
		}
		a.listCached(ctx)
	}
	if ended || len(bad) > 0 {
		a.tellUnsound(ctx, bad)
	}
	return nil
}

// tellUnsound says which cached backups are not whole, as of the end of a round.
func (a *Agent) tellUnsound(ctx context.Context, bad []restore.Unsound) {
	const key = "unsound"
	if len(bad) == 0 {
		a.troubleOver(ctx, cacheKind, key, "every cached backup is whole again")
		return
	}
	var texts []string
	for _, u := range bad {
		texts = append(texts, fmt.Sprintf("%s (%v)", u.Ref.ID, u.Err))
	}
	a.trouble(ctx, cacheKind, key, "cached backups are damaged, and the bucket has no sound copy of what is bad in them: "+
		"promote another backup where this is the only choice, and look at the bucket with: understudy verify; "+strings.Join(texts, "; "))
}

// mendsTold is how many packs of an hour are told of one by one.
const mendsTold = 10

// mends bounds how much is told of packs that were bad. It is safe for
// concurrent use.
type mends struct {
	mu    sync.Mutex
	since time.Duration // monotonic
	n     int
}

// next counts one, and returns how many there were in this hour.
func (m *mends) next(now time.Duration) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.n == 0 || now-m.since >= time.Hour {
		m.since, m.n = now, 0
	}
	m.n++
	return m.n
}

// mended tells of a cached pack that was bad.
func (a *Agent) mended(ctx context.Context, m restore.Mended) {
	a.stats.cacheMended(m.Err != nil)
	text, level := fmt.Sprintf("the cached pack %s was bad (%v), and was replaced by the bucket's", m.Pack, m.Why), event.Warn
	if m.Err != nil {
		text, level = fmt.Sprintf("the cached pack %s is bad (%v), and cannot be replaced: %v", m.Pack, m.Why, m.Err), event.Alarm
	}
	switch n := a.mends.next(a.cfg.Clock.Now().Mono); {
	case n > mendsTold:
		return
	case n == mendsTold:
		text += "; more of this hour are counted, and not told of"
	}
	a.note(ctx, level, cacheKind, text, map[string]any{"pack": m.Pack.String()})
}
