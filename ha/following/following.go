package following

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/event"
)

// Config is what a Following is given.
type Config struct {
	Chain   Chain
	Sources func() []source.Source // in force
	View    func() ha.Status
	Every   time.Duration        // for how long a turn takes in what has come: a promotion waits for its end
	Ask     func() time.Duration // how often a stream that goes on is asked for more
	Clock   clock.Clock
	Log     event.Reporter
	// Drop drops what is staged: the next rehearsal builds it anew.
	Drop func(ctx context.Context) error
}

// Chain is the streams in the bucket.
type Chain interface {
	// ReadKnown reads the part behind a tip; up to the known one they must be there.
	ReadKnown(ctx context.Context, source string, id stream.ID, after, known stream.Tip) (stream.Part, stream.Tip, error)
	// Find returns the tip behind which the part with a position lies.
	Find(ctx context.Context, source string, id stream.ID, at stream.Position, upTo stream.Tip) (stream.Tip, error)
	// Close ends a stream for a promoter, behind whatever was shipped.
	Close(ctx context.Context, after stream.Tip, p stream.Part) (stream.Part, stream.Tip, error)
	// CloseLost is Close where what was confirmed last may be gone.
	CloseLost(ctx context.Context, after stream.Tip, p stream.Part) (stream.Part, stream.Tip, error)
}

// Following is the followers of all sources whose stage can go on by a log. It is safe for
// concurrent use.
type Following struct {
	cfg Config

	mu        sync.Mutex
	followers map[string]*follower
}

// New follows nothing yet.
func New(cfg Config) *Following {
	return &Following{cfg: cfg, followers: make(map[string]*follower)}
}

// quiet is how long a stream may bring nothing before it is asked at each poll only.
const quiet = 30 * time.Second

// Turn takes what has come of all streams, for at most Every of each, and returns when to look
// again: soon, while they go on. idle is when to look at streams that do not.
func (f *Following) Turn(ctx context.Context, idle time.Duration) time.Duration {
	all := f.all()
	if len(all) == 0 {
		return idle
	}
	st := f.cfg.View()
	if st.Role != ha.RoleStandby || st.Promotion != nil || st.Head == nil {
		return min(idle, f.cfg.Every)
	}
	next := idle
	for _, one := range all {
		next = min(next, one.turn(ctx, st.Head, idle))
	}
	return next
}

// all are the followers of the sources in force.
func (f *Following) all() (all []*follower) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, src := range f.cfg.Sources() {
		if by, ok := src.(source.Follower); ok {
			all = append(all, f.follower(src.Name(), by))
		}
	}
	return all
}

// follower is that of a source. The caller holds the lock.
func (f *Following) follower(name string, by source.Follower) *follower {
	one := f.followers[name]
	if one == nil || one.by != by {
		one = &follower{cfg: &f.cfg, name: name, by: by}
		f.followers[name] = one
	}
	return one
}

// TakeIn takes in what there is up to the ends of streams, where the stages go on in them: a
// backup that lies before has nothing to add to such a stage, whose server runs on. What is in
// the way is for CatchUp to find, behind the backup.
func (f *Following) TakeIn(ctx context.Context, ends map[string]ha.Stream) {
	for _, one := range f.all() {
		if path := ends[one.name].Led(); len(path) > 0 {
			one.taking.Lock()
			_ = one.takeIn(ctx, path)
			one.taking.Unlock()
		}
	}
}

// CatchUp takes every stage up to where its stream ends, for a promotion, and closes it
// for the swap. The note says how far that is.
func (f *Following) CatchUp(ctx context.Context, ends map[string]ha.Stream) (note string, err error) {
	var notes []string
	for _, one := range f.all() {
		path := ends[one.name].Led()
		if len(path) == 0 {
			continue
		}
		end := path[len(path)-1]
		if err := one.catchUp(ctx, path); err != nil {
			return "", fmt.Errorf("apply stream %s of %s up to its end: %w", end.ID, one.name, withWayOut(err))
		}
		notes = append(notes, fmt.Sprintf("%s up to %s", one.name, end.Tip.Time.UTC().Format(time.TimeOnly)))
	}
	slices.Sort(notes)
	return strings.Join(notes, ", "), nil
}

// withWayOut says how a promotion can do without log that is gone, not what was written, or
// does not go on from the backup.
func withWayOut(err error) error {
	for _, kind := range []error{stream.ErrBelow, stream.ErrGone, stream.ErrDamaged, stream.ErrBroken, source.ErrDiverged} {
		if errors.Is(err, kind) {
			return fmt.Errorf("%w; or do without the log that comes after the backup: understudy promote --without-log", err)
		}
	}
	return err
}

// End ends streams for a promotion, and returns them with their end parts. One that is
// ended already stays as it is. With lost, one that ends before the part that was confirmed
// last is ended where it does.
func (f *Following) End(ctx context.Context, streams map[string]ha.Stream, lost bool, incarnation string, end stream.End) (map[string]ha.Stream, error) {
	ends, closeOne := make(map[string]ha.Stream), f.cfg.Chain.Close
	if lost {
		closeOne = f.cfg.Chain.CloseLost
	}
	for name, s := range streams {
		if s.Closed {
			ends[name] = s
			continue
		}
		if s.Tip.Sequence == 0 {
			s.Tip.To = s.From
		}
		_, tip, err := closeOne(ctx, s.Tip, stream.Part{Source: name, Stream: s.ID, Incarnation: incarnation, End: &end})
		if err != nil {
			return nil, fmt.Errorf("end stream %s of %s: %w", s.ID, name, withWayOut(err))
		}
		s.Tip, s.Closed = tip, true
		ends[name] = s
	}
	return ends, nil
}

// Shown is how far the replica of a source has come, for people. Times are the active's.
type Shown struct {
	Source string
	Stream stream.ID     // the one in force, if the replica goes on in it; zero: it does not
	Tip    stream.Tip    // the newest part that was taken in
	Shows  time.Time     // what the active had read by then is applied; zero: that is not known
	Behind int64         // what is known to be shipped and is not applied yet, in the positions' unit; negative: not known
	Lag    time.Duration // by how much that is newer than what is applied
	Paused bool          // it had paused, and was not seen to go on since
	Pauses int64         // how often it had, and was started anew
	Error  string        // why it does not follow; "": nothing is known to be wrong
}

// Shown lists the replicas of the sources in force.
func (f *Following) Shown() (all []Shown) {
	for _, one := range f.all() {
		all = append(all, one.shown())
	}
	return all
}
