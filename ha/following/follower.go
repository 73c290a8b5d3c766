package following

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
)

// follower takes the log of streams into the stage of one source.
type follower struct {
	cfg  *Config
	name string
	by   source.Follower

	taking  sync.Mutex // held by who takes log in
	entered stream.ID  // by who does: the stream in force, once the stage goes on in it

	mu      sync.Mutex
	id      stream.ID     // the stream that it is in; zero: none yet
	tip     stream.Tip    // of it, the newest part that was taken in
	in      stream.ID     // the stream in force, if the stage goes on in it
	named   stream.Tip    // what the head named last of the stream in force
	applied applied       // what the replica shows, when it was asked last
	failed  string        // why it does not follow; "": nothing is known to be wrong
	last    time.Duration // when a part came, by the monotonic clock
	paused  bool          // it had paused, and was not seen to go on since
	pauses  int64         // how often it had
}

// kind is that of troubles and events.
const kind = "streams"

// turn takes what has come, for some time. It returns when to look again, where idle is for
// a stream that does not go on.
func (o *follower) turn(ctx context.Context, h *ha.Head, idle time.Duration) time.Duration {
	o.taking.Lock()
	defer o.taking.Unlock()
	until := o.cfg.Clock.Now().Mono + o.cfg.Every
	took, err := o.take(ctx, h, until)
	if errors.Is(err, source.ErrDiverged) {
		o.leave()
		err = errors.Join(err, o.cfg.Drop(ctx))
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		o.cfg.Log.Trouble(ctx, kind, o.name, fmt.Sprintf("the replica of %s does not follow, so that a failover takes longer: %v", o.name, err))
	case o.entered == h.Streams[o.name].ID: // it follows, or there is nothing to follow
		o.cfg.Log.TroubleOver(ctx, kind, o.name, "the replica of "+o.name+" follows again")
	}
	at, notKnown := o.by.Applied(ctx)
	if at.Paused {
		o.cfg.Log.Note(ctx, event.Warn, kind, "the replica of "+o.name+" had paused, and was started anew", map[string]any{"source": o.name})
		err = errors.Join(err, notKnown)
	}
	now := o.cfg.Clock.Now().Mono
	o.mu.Lock()
	defer o.mu.Unlock()
	o.in, o.failed, o.named = o.entered, "", h.Streams[o.name].Tip
	if err != nil {
		o.in, o.failed = stream.ID{}, err.Error()
	}
	o.applied.reach(at.To, notKnown == nil)
	switch {
	case at.Paused:
		o.paused = true
		o.pauses++
	case notKnown == nil:
		o.paused = false
	}
	if took {
		o.last = now
	}
	switch {
	case err != nil || now-o.last >= quiet:
		return idle
	case took && now >= until: // more may be there by now
		return 0
	}
	return o.cfg.Ask()
}

// take takes in what there is of the streams that the head names, until some time.
func (o *follower) take(ctx context.Context, h *ha.Head, until time.Duration) (took bool, err error) {
	s, ok := h.Streams[o.name]
	o.entered = stream.ID{}
	if !ok || s.Unbased {
		return false, nil
	}
	path := s.Led()
	for i, one := range path {
		limit := s.From
		if i+1 < len(path) {
			limit = path[i+1].From
		}
		t, err := o.follow(ctx, one, limit, i+1 == len(path), until)
		if took = took || t; err != nil {
			return took, err
		}
	}
	return took, nil
}

// forever is for whoever takes in all that there is.
const forever = time.Duration(math.MaxInt64)

// follow takes in what there is of one stream that the stage has not, up to a limit unless
// it is the last one, and until some time: parts may come as fast as they are taken in.
func (o *follower) follow(ctx context.Context, s ha.Stream, limit stream.Position, last bool, until time.Duration) (took bool, err error) {
	tip, ok, err := o.enter(ctx, s, limit, last)
	if err != nil || !ok {
		return false, err
	}
	if last {
		o.entered = s.ID
	}
	for {
		if took && o.cfg.Clock.Now().Mono >= until {
			return took, nil
		}
		r, err := o.read(ctx, s, tip, limit, last)
		if len(r.tips) > 0 {
			if err := o.feed(ctx, s.ID, r); err != nil {
				return took, err
			}
			tip, took = r.tips[len(r.tips)-1], true
		}
		if r.all || err != nil {
			return took, err
		}
	}
}

// run is the log of consecutive parts of a stream.
type run struct {
	begin json.RawMessage
	from  stream.Position
	log   []byte
	tips  []stream.Tip
	all   bool // nothing more is there, or is to be taken
}

// A run takes in no further part once it has so many, or so much of their log: it is small
// parts that are worth it.
const (
	enoughParts = 64
	enoughLog   = 256 << 10
)

// read reads what there is behind a tip, up to a limit unless it is the last stream. Small
// parts are fed together: a stage waits for its disk each time. What it returns beside an
// error lies before what cannot be read.
func (o *follower) read(ctx context.Context, s ha.Stream, tip stream.Tip, limit stream.Position, last bool) (r run, err error) {
	for len(r.tips) < enoughParts && len(r.log) < enoughLog {
		p, next, err := o.cfg.Chain.ReadKnown(ctx, o.name, s.ID, tip, s.Tip)
		switch {
		case notYet(err):
			r.all = true
			return r, nil
		case err != nil:
			return r, err
		case p.End == nil && !last && p.From >= limit:
			r.all = true
			return r, nil
		}
		log := p.Log
		if !last && p.To > limit {
			log = log[:max(limit, p.From)-p.From] // positions count the log's bytes
		}
		switch {
		case len(r.log) == 0:
			r.begin, r.from, r.log = p.Begin, p.From, log
		case len(log) > 0 && !bytes.Equal(r.begin, p.Begin):
			return r, nil // it is read again, for the next run
		default:
			r.log = append(r.log, log...)
		}
		r.tips, tip = append(r.tips, next), next
		if p.End != nil {
			r.all = true
			return r, nil
		}
	}
	return r, nil
}

// feed hands the log of a run over.
func (o *follower) feed(ctx context.Context, id stream.ID, r run) error {
	if len(r.log) > 0 {
		if err := o.by.Feed(ctx, r.begin, r.from, r.log); err != nil {
			return fmt.Errorf("take in stream %s up to part %d: %w", id, r.tips[len(r.tips)-1].Sequence, err)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.id, o.tip = id, r.tips[len(r.tips)-1]
	for _, tip := range r.tips {
		o.applied.fed(tip)
	}
	return nil
}

// enter finds the part of a stream up to which the stage has its log. false: the stage has
// all of it, or cannot go on in it yet.
func (o *follower) enter(ctx context.Context, s ha.Stream, limit stream.Position, last bool) (tip stream.Tip, ok bool, err error) {
	at, ok, err := o.by.Followed(ctx, nil)
	if err != nil || !ok {
		o.leave()
		return tip, false, err
	}
	if id, tip := o.reached(); id == s.ID && tip.To == at { // else a backup has taken it further
		return tip, true, nil
	}
	if at < s.From || !last && at >= limit {
		return tip, false, nil
	}
	// The part with the last of the stage's own log, so that the two are compared.
	if tip, err = o.find(ctx, s, max(s.From, at-min(at, 1))); err != nil {
		return tip, false, err
	}
	p, _, err := o.cfg.Chain.ReadKnown(ctx, o.name, s.ID, tip, s.Tip)
	switch {
	case notYet(err):
		return tip, true, nil
	case err != nil:
		return tip, false, err
	}
	from, ok, err := o.by.Followed(ctx, p.Begin)
	switch {
	case err != nil:
		return tip, false, err
	case !ok:
		return tip, false, fmt.Errorf("%w, which is stream %s", source.ErrDiverged, s.ID)
	case from < p.From:
		tip, err = o.find(ctx, s, max(from, s.From))
	}
	return tip, err == nil, err
}

// notYet reports whether a part is yet to come: it is not one that is gone.
func notYet(err error) bool {
	return errors.Is(err, stream.ErrNotYet) && !errors.Is(err, stream.ErrGone)
}

// find is the part behind which a position lies.
func (o *follower) find(ctx context.Context, s ha.Stream, at stream.Position) (stream.Tip, error) {
	if at == s.From {
		return stream.Tip{To: s.From}, nil
	}
	tip, err := o.cfg.Chain.Find(ctx, o.name, s.ID, at, s.Tip)
	if err != nil {
		return tip, fmt.Errorf("find position %d in stream %s: %w", at, s.ID, err)
	}
	return tip, nil
}

// takeIn takes in everything up to the end of the last of streams.
func (o *follower) takeIn(ctx context.Context, path []ha.Stream) error {
	for i, s := range path {
		limit := s.From
		if i+1 < len(path) {
			limit = path[i+1].From
		}
		if _, err := o.follow(ctx, s, limit, i+1 == len(path), forever); err != nil {
			return err
		}
	}
	return nil
}

// catchUp takes in everything up to the end of the last of streams, and closes the stage for
// the swap.
func (o *follower) catchUp(ctx context.Context, path []ha.Stream) error {
	o.taking.Lock()
	defer o.taking.Unlock()
	if err := o.takeIn(ctx, path); err != nil {
		return err
	}
	end := path[len(path)-1]
	at, ok, err := o.by.Followed(ctx, nil)
	switch {
	case err != nil:
		return err
	case !ok:
		return errors.New("nothing is staged that could go on")
	case at < end.Tip.To:
		return fmt.Errorf("the replica has its log up to position %d, and the stream ends at %d: what lies between is not in the bucket", at, end.Tip.To)
	}
	if id, tip := o.reached(); id == end.ID && tip.Digest != end.Tip.Digest {
		return fmt.Errorf("the stream's end is part %d, and the bucket has it up to part %d", end.Tip.Sequence, tip.Sequence)
	}
	return o.by.CatchUp(ctx, at)
}

// reached is the stream that it is in, and the newest part that was taken in.
func (o *follower) reached() (stream.ID, stream.Tip) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.id, o.tip
}

// leave forgets where it was.
func (o *follower) leave() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.id, o.tip, o.applied = stream.ID{}, stream.Tip{}, applied{}
}

// shown is how far it has come.
func (o *follower) shown() Shown {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := Shown{Source: o.name, Stream: o.in, Tip: o.tip, Shows: o.applied.time, Behind: -1, Paused: o.paused, Pauses: o.pauses, Error: o.failed}
	newest := o.tip
	if o.named.To > newest.To {
		newest = o.named
	}
	if o.applied.known {
		s.Behind = max(0, int64(newest.To)-int64(o.applied.to)) //nolint:gosec // positions in a log
	}
	if !s.Shows.IsZero() {
		s.Lag = max(0, newest.Time.Sub(s.Shows))
	}
	return s
}
