package agent

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
)

const (
	sweepEvery   = time.Hour        // between two sweeps
	scratchEvery = 24 * time.Hour   // the same, where the bucket's rules leave scratch objects alone
	sweepSpread  = 10 * time.Minute // within which the first one begins
	sweepRate    = 4                // deletes in a second
	recheck      = 10               // deletes between two reads of the head
)

// errSwept ends a sweep early: this instance is not, or no longer, the active,
// or what is configured has changed.
var errSwept = errors.New("this sweep is over")

// sweeper deletes what has expired and no rule of the bucket deletes. It
// belongs to one goroutine.
type sweeper struct {
	a       *Agent
	limit   *rate.Limiter
	known   map[string]retention.Policy // of earlier configurations, by digest
	failing bool                        // a failure was told
	config  string                      // digest of the configuration that this sweep goes by
	count   int64                       // deletes of this sweep
}

// keepSwept sweeps every now and then, on the active.
func (a *Agent) keepSwept(ctx context.Context) error {
	s := &sweeper{a: a, limit: rate.NewLimiter(sweepRate, 1), known: make(map[string]retention.Policy)}
	next := a.cfg.Clock.Now().Mono + time.Duration(spread(a.self.Incarnation)*float64(sweepSpread))
	return a.whenAdmitted(ctx, func() time.Duration {
		if now := a.cfg.Clock.Now().Mono; now >= next && a.view().Leading {
			s.run(ctx)
			next = now + sweepEvery
			if _, c := a.configs.current(); c != nil && a.standing(c).ByBucket() {
				next = now + scratchEvery
			}
		}
		return judgeEvery
	})
}

// spread gives a number from 0 to 1 that depends on the name alone.
func spread(name string) float64 {
	sum := sha256.Sum256([]byte(name))
	return float64(binary.LittleEndian.Uint32(sum[:])) / (1 << 32)
}

// run sweeps, and tells of a failure once.
func (s *sweeper) run(ctx context.Context) {
	s.count, s.config = 0, ""
	err := s.sweep(ctx)
	switch {
	case err == nil:
		s.failing = false
		now := s.a.control.Time()
		s.a.expiry.change(func(e *expiry) { e.sweptAt = &now })
	case ctx.Err() != nil, errors.Is(err, errSwept), s.failing:
	default:
		s.failing = true
		s.a.note(ctx, event.Warn, retentionKind, "what has expired cannot be deleted, which is tried again every hour: "+err.Error(), nil)
	}
	if s.count > 0 {
		s.a.cfg.Logger.DebugContext(ctx, "deleted what has expired", "objects", s.count)
	}
}

// sweep deletes whatever has expired, unless the bucket does it, and what
// checks of the store have left behind. What the newest backup needs stays,
// however old it is.
func (s *sweeper) sweep(ctx context.Context) error {
	a := s.a
	h, err := s.head(ctx)
	if err != nil {
		return err
	}
	c, err := a.configs.get(ctx, h.Config)
	if err != nil {
		return err
	}
	s.config = h.Config
	now := a.control.Time()
	promise, err := a.control.PromiseOf(ctx, h.Config, c, now, s.known)
	if err != nil {
		return err
	}
	a.expiry.change(func(e *expiry) { e.until = promise.Until })
	if left := a.standing(c).Left; len(left) > 0 {
		spare, err := a.needed(ctx, h.Newest)
		if err != nil {
			return err
		}
		for attrs, err := range retention.Expired(ctx, a.repo.Store, promise.Rules, left, now, spare) {
			if err != nil {
				return err
			}
			if err := s.remove(ctx, attrs.Key); err != nil {
				return err
			}
		}
	}
	return s.sweepScratch(ctx, now)
}

// sweepScratch deletes leftovers of checks of the store.
func (s *sweeper) sweepScratch(ctx context.Context, now time.Time) error {
	for attrs, err := range s.a.cfg.Store.List(ctx, control.ScratchPrefix, "") {
		if err != nil {
			return fmt.Errorf("list %s: %w", control.ScratchPrefix, err)
		}
		if attrs.Time.IsZero() || now.Sub(attrs.Time) < control.ScratchLife {
			continue
		}
		if err := s.remove(ctx, attrs.Key); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes one object, after it has made sure that this instance is
// still the active, and the configuration the same.
func (s *sweeper) remove(ctx context.Context, key string) error {
	if s.count%recheck == 0 {
		if _, err := s.head(ctx); err != nil {
			return err
		}
	}
	if err := s.limit.Wait(ctx); err != nil {
		return fmt.Errorf("wait to remove %s: %w", key, err)
	}
	if err := s.a.control.Remove(ctx, key); err != nil {
		return err
	}
	s.count++
	s.a.expiry.change(func(e *expiry) { e.deleted++ })
	return nil
}

// head reads the head, and fails unless it names this very process, and the
// configuration that the sweep goes by.
func (s *sweeper) head(ctx context.Context) (*ha.Head, error) {
	h, err := s.a.control.Head(ctx)
	switch {
	case err != nil:
		return nil, err
	case !s.a.view().Leading, h.Active.Name != s.a.self.Name, h.Active.Incarnation != s.a.self.Incarnation:
		return nil, errSwept
	case s.config != "" && h.Config != s.config:
		return nil, errSwept
	}
	return h, nil
}

// needed gives the keys of all that a backup consists of.
func (a *Agent) needed(ctx context.Context, ref *backup.Ref) (map[string]bool, error) {
	if ref == nil {
		return nil, nil
	}
	m, err := a.chain.Manifest(ctx, *ref)
	if err != nil {
		return nil, err
	}
	_, index, err := a.repo.Open(ctx, m, a.cache.Through(a.repo))
	if err != nil {
		return nil, err
	}
	keys := map[string]bool{ref.Key: true}
	for _, p := range index.Packs() {
		keys[p.Digest.Key()] = true
	}
	return keys, nil
}
