package upkeep

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
	ScrubRest   = time.Hour       // with a rest between two rounds
	scrubAgain  = 5 * time.Minute // the same, while something cannot be mended
)

// Scrubber reads this instance's cache in rotation, and tells what is bad in it. Its
// turns belong to one goroutine.
type Scrubber struct {
	host  Host
	ended func(ctx context.Context) // told of the end of each round

	budget int64         // bytes in a turn; 0: not known yet in this round
	next   time.Duration // monotonic, when the next round may begin
	mends  mends
}

// NewScrubber calls ended whenever the whole cache has been read.
func NewScrubber(h Host, ended func(ctx context.Context)) *Scrubber {
	return &Scrubber{host: h, ended: ended}
}

// Turn reads a part of the cache. It returns when the next turn is due.
func (s *Scrubber) Turn(ctx context.Context) time.Duration {
	// A promotion wants the disk for itself.
	if s.host.Cluster.View().Promotion == nil && s.host.Clock.Now().Mono >= s.next {
		s.turn(ctx)
	}
	return scrubPause
}

// turn reads as much of the cache as is due, and says which cached backups
// cannot be restored from here.
func (s *Scrubber) turn(ctx context.Context) {
	const key = "scrub"
	switch err := s.read(ctx); {
	case ctx.Err() != nil:
	case err != nil:
		s.host.Log.Trouble(ctx, CacheKind, key, fmt.Sprintf("the cache cannot be checked: %v", err))
	default:
		s.host.Log.TroubleOver(ctx, CacheKind, key, "the cache can be checked again")
	}
}

func (s *Scrubber) read(ctx context.Context) error {
	if s.budget == 0 {
		size, err := s.host.Cache.Size()
		if err != nil {
			return err
		}
		s.budget = max(min(size/int64(scrubPeriod/scrubPause), scrubMost*int64(scrubPause/time.Second)), scrubLeast)
	}
	before, err := s.host.Cache.Scrubbed()
	if err != nil {
		return err
	}
	at, bad, err := s.host.Cache.Scrub(ctx, s.host.Repo, s.budget)
	if err != nil {
		return err
	}
	ended := at.Round != before.Round
	if ended {
		s.budget, s.next = 0, s.host.Clock.Now().Mono+ScrubRest
		if len(bad) > 0 { // somebody may be putting the bucket right
			s.next = s.host.Clock.Now().Mono + scrubAgain
		}
		s.ended(ctx)
	}
	if ended || len(bad) > 0 {
		s.tellUnsound(ctx, bad)
	}
	return nil
}

// tellUnsound says which cached backups are not whole, as of the end of a round.
func (s *Scrubber) tellUnsound(ctx context.Context, bad []restore.Unsound) {
	const key = "unsound"
	if len(bad) == 0 {
		s.host.Log.TroubleOver(ctx, CacheKind, key, "every cached backup is whole again")
		return
	}
	var texts []string
	for _, u := range bad {
		texts = append(texts, fmt.Sprintf("%s (%v)", u.Ref.ID, u.Err))
	}
	s.host.Log.Trouble(ctx, CacheKind, key, "cached backups are damaged, and the bucket has no sound copy of what is bad in them: "+
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

// Mended tells of a cached pack that was bad.
func (s *Scrubber) Mended(ctx context.Context, m restore.Mended) {
	text, level := fmt.Sprintf("the cached pack %s was bad (%v), and was replaced by the bucket's", m.Pack, m.Why), event.Warn
	if m.Err != nil {
		text, level = fmt.Sprintf("the cached pack %s is bad (%v), and cannot be replaced: %v", m.Pack, m.Why, m.Err), event.Alarm
	}
	switch n := s.mends.next(s.host.Clock.Now().Mono); {
	case n > mendsTold:
		return
	case n == mendsTold:
		text += "; more of this hour are counted, and not told of"
	}
	s.host.Log.Note(ctx, level, CacheKind, text, map[string]any{"pack": m.Pack.String()})
}
