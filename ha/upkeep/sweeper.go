package upkeep

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
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
	partRate     = 50               // the same, of parts of streams: a busy one has 30 a second
)

// Recheck is how many deletes there are between two reads of the head.
const Recheck = 10

// errSwept ends a sweep early: this instance is not, or no longer, the active,
// or what is configured has changed.
var errSwept = errors.New("this sweep is over")

// Sweeper deletes what has expired and no rule of the bucket deletes. It belongs to
// one goroutine.
type Sweeper struct {
	host    Host
	rules   *Rules
	next    time.Duration // monotonic, when the next sweep is due
	limit   *rate.Limiter
	parts   *rate.Limiter               // the limit for parts of streams
	known   map[string]retention.Policy // of earlier configurations, by digest
	failing bool                        // a failure was told
	config  string                      // digest of the configuration that this sweep goes by
	count   int64                       // deletes of this sweep
}

// NewSweeper begins its first sweep within minutes.
func NewSweeper(h Host, rules *Rules) *Sweeper {
	return &Sweeper{
		host: h, rules: rules, limit: rate.NewLimiter(sweepRate, 1), parts: rate.NewLimiter(partRate, 1), known: make(map[string]retention.Policy),
		next: h.Clock.Now().Mono + Spread(h.Self.Incarnation, sweepSpread),
	}
}

// Turn sweeps every now and then, on the active. It returns when the next turn is due.
func (s *Sweeper) Turn(ctx context.Context) time.Duration {
	if now := s.host.Clock.Now().Mono; now >= s.next && s.host.Cluster.View().Leading {
		s.run(ctx)
		s.next = now + sweepEvery
		if _, c := s.host.Cluster.Config(); c != nil && s.rules.Effect(c).ByBucket() {
			s.next = now + scratchEvery
		}
	}
	return judgeEvery
}

// Spread is a part of a time that depends on the name alone, so that instances do not
// all do the same at once.
func Spread(name string, over time.Duration) time.Duration {
	sum := sha256.Sum256([]byte(name))
	return time.Duration(float64(binary.LittleEndian.Uint32(sum[:])) / (1 << 32) * float64(over))
}

// run sweeps, and tells of a failure once.
func (s *Sweeper) run(ctx context.Context) {
	s.count, s.config = 0, ""
	err := s.Sweep(ctx)
	switch {
	case err == nil:
		s.failing = false
		now := s.host.Control.Time()
		s.rules.change(func(r *Rules) { r.sweptAt = &now })
	case ctx.Err() != nil, errors.Is(err, errSwept), s.failing:
	default:
		s.failing = true
		s.host.Log.Note(ctx, event.Warn, RetentionKind, "what has expired cannot be deleted, which is tried again every hour: "+err.Error(), nil)
	}
	if s.count > 0 {
		s.host.Logger.DebugContext(ctx, "deleted what has expired", "objects", s.count)
	}
}

// Sweep deletes whatever has expired, unless the bucket does it, and what
// checks of the store have left behind. What the newest backup needs stays,
// however old it is.
func (s *Sweeper) Sweep(ctx context.Context) error {
	h, err := s.head(ctx)
	if err != nil {
		return err
	}
	c, err := s.host.Cluster.ConfigWith(ctx, h.Config)
	if err != nil {
		return err
	}
	s.config = h.Config
	now := s.host.Control.Time()
	promise, err := s.host.Control.PromiseOf(ctx, h.Config, c, now, s.known)
	if err != nil {
		return err
	}
	s.rules.change(func(r *Rules) { r.until = promise.Until })
	if left := s.rules.Effect(c).Left; len(left) > 0 {
		spare, err := s.needed(ctx, h.Newest)
		if err != nil {
			return err
		}
		for attrs, err := range retention.Expired(ctx, s.host.Repo.Store, promise.Rules, left, now, spare) {
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
func (s *Sweeper) sweepScratch(ctx context.Context, now time.Time) error {
	for attrs, err := range s.host.Store.List(ctx, control.ScratchPrefix, "") {
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
func (s *Sweeper) remove(ctx context.Context, key string) error {
	if s.count%Recheck == 0 {
		if _, err := s.head(ctx); err != nil {
			return err
		}
	}
	limit := s.limit
	if strings.HasPrefix(key, retention.Streams) {
		limit = s.parts
	}
	if err := limit.Wait(ctx); err != nil {
		return fmt.Errorf("wait to remove %s: %w", key, err)
	}
	if err := s.host.Control.Remove(ctx, key); err != nil {
		return err
	}
	s.count++
	s.rules.change(func(r *Rules) { r.deleted++ })
	return nil
}

// head reads the head, and fails unless it names this very process, and the
// configuration that the sweep goes by.
func (s *Sweeper) head(ctx context.Context) (*ha.Head, error) {
	h, err := s.host.Control.Head(ctx)
	switch {
	case err != nil:
		return nil, err
	case !s.host.Cluster.View().Leading, h.Active.Name != s.host.Self.Name, h.Active.Incarnation != s.host.Self.Incarnation:
		return nil, errSwept
	case s.config != "" && h.Config != s.config:
		return nil, errSwept
	}
	return h, nil
}

// needed are the keys of all that a backup consists of.
func (s *Sweeper) needed(ctx context.Context, ref *backup.Ref) (map[string]bool, error) {
	if ref == nil {
		return nil, nil
	}
	m, err := s.host.Chain.Manifest(ctx, *ref)
	if err != nil {
		return nil, err
	}
	_, index, err := s.host.Repo.Open(ctx, m, s.host.Cache.Through(s.host.Repo))
	if err != nil {
		return nil, err
	}
	keys := map[string]bool{ref.Key: true}
	for _, p := range index.Packs() {
		keys[p.Digest.Key()] = true
	}
	return keys, nil
}
