package shipping

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
)

// kind is that of troubles and events.
const kind = "streams"

// shipper ships the log of one source, one stream at a time.
type shipper struct {
	cfg   *Config
	gate  *gate
	start func(func()) bool // runs it beside everything else
	name  string
	from  source.Streamer
	*counts
	life context.Context // ends with stop
	end  context.CancelFunc

	mu        sync.Mutex
	now       *run
	before    <-chan struct{} // closed when what was shipped last has ended; nil: nothing was
	preparing bool
	closed    map[stream.ID]bool
	next      *stream.Position // where the next stream begins, behind one that was closed; nil: where the source says
	gap       bool             // and its log does not go on from there
}

func newShipper(ctx context.Context, cfg *Config, g *gate, start func(func()) bool, name string, from source.Streamer, c *counts) *shipper {
	s := &shipper{cfg: cfg, gate: g, start: start, name: name, from: from, counts: c, closed: make(map[stream.ID]bool)}
	s.life, s.end = context.WithCancel(ctx)
	return s
}

// prepare asks the source where a stream can begin, and tells the machine, unless one is
// being shipped.
func (s *shipper) prepare() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil || s.preparing {
		return
	}
	ctx, next := s.life, s.next
	s.preparing = s.start(func() {
		from, ok := s.ready(ctx, next)
		s.mu.Lock()
		s.preparing = false
		ok = ok && s.now == nil
		s.mu.Unlock()
		if ok {
			s.cfg.Post(ha.StreamReady{Source: s.name, From: from, Gap: s.hasGap()})
		}
	})
}

// ready asks the source where a stream can begin until it says so.
func (s *shipper) ready(ctx context.Context, next *stream.Position) (from stream.Position, ok bool) {
	for wait := retryFirst; ctx.Err() == nil; wait = min(2*wait, retryMax) {
		from, err := s.begin(ctx, next)
		if err == nil {
			return from, true
		}
		if ctx.Err() == nil {
			s.cfg.Log.Trouble(ctx, kind, s.name, fmt.Sprintf("the log of %s is not shipped, which is tried again; a failover now would lose what was written since the newest backup: %v", s.name, err))
		}
		_ = clock.Wait(ctx, wait) // which ends with ctx
	}
	return 0, false
}

// begin is where a stream can begin. Where the log from there is gone, it is where a new
// one can.
func (s *shipper) begin(ctx context.Context, next *stream.Position) (stream.Position, error) {
	log, err := s.from.OpenLog(ctx, next)
	if errors.Is(err, source.ErrGap) {
		s.lacks()
		log, err = s.from.OpenLog(ctx, nil)
	}
	if err != nil {
		return 0, err
	}
	from, _ := log.Begin()
	return from, log.Close()
}

// lacks notes that the source does not have the log any more, or not the same, with which
// the stream that was closed would go on.
func (s *shipper) lacks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next, s.gap = nil, true
}

func (s *shipper) hasGap() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gap
}

// ship ships a stream, unless that is done already, or it was closed.
func (s *shipper) ship(of ha.Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed[of.ID] {
		return
	}
	if s.now != nil && s.now.id == of.ID {
		s.now.based(!of.Unbased)
		return
	}
	if s.now != nil {
		s.now.cancel()
	}
	s.gap = false
	r, before := newRun(s, of), s.before
	if s.start(func() {
		if before != nil {
			<-before // one process alone receives a log
		}
		r.keep()
	}) {
		s.now, s.before = r, r.done
	}
}

// last is closed when what is shipped now has ended; nil: nothing is.
func (s *shipper) last() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.before
}

// over notes that a stream is closed for ever; the next one begins where it ends.
func (s *shipper) over(r *run, next *stream.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed[r.id], s.next = true, next
	if s.now == r {
		s.now = nil
	}
}

// stop has it end. It does not wait: who says so may be who hears what it posts.
func (s *shipper) stop() { s.end() }

// look has an idle stream looked at.
func (s *shipper) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil {
		select {
		case s.now.beat <- struct{}{}:
		default:
		}
	}
}

// closeTimeout is how long a stream may take to be closed: the application is stopped
// meanwhile.
const closeTimeout = time.Minute

// close stops the source's server, ships what is left, and closes the stream.
func (s *shipper) close(ctx context.Context, of ha.Stream, end stream.End) (tip stream.Tip, err error) {
	served, ok := s.from.(source.Served)
	if !ok {
		return stream.Tip{}, errors.New("nothing can stop what writes its log")
	}
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	c, err := s.closes(of, end)
	if err != nil {
		return stream.Tip{}, err
	}
	defer func() {
		if err != nil {
			s.drop(c.run) // else it would close the stream at the server's next stop
		}
	}()
	if err := served.Stop(ctx); err != nil {
		return stream.Tip{}, fmt.Errorf("stop its server: %w", err)
	}
	select {
	case tip := <-c.tip:
		return tip, nil
	case <-c.run.done:
		if len(c.tip) > 0 {
			return <-c.tip, nil
		}
		return stream.Tip{}, errors.New("it was closed by somebody else, or is shipped no longer")
	case <-ctx.Done():
		return stream.Tip{}, ctx.Err()
	}
}

// drop ends a run. Ship may ask for its stream again.
func (s *shipper) drop(r *run) {
	r.cancel()
	<-r.done
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == r {
		s.now = nil
	}
}

// closes has the run of a stream close it. Asked for once more, after a failure, it is
// the same.
func (s *shipper) closes(of ha.Stream, end stream.End) (*closing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.now
	if r == nil || r.id != of.ID {
		return nil, errors.New("it is not being shipped")
	}
	if r.closing == nil {
		r.close(&closing{run: r, end: end, tip: make(chan stream.Tip, 1)})
	}
	return r.closing, nil
}

// shown is what is being shipped.
func (s *shipper) shown() Shown {
	s.mu.Lock()
	r := s.now
	s.mu.Unlock()
	if r == nil {
		return Shown{Source: s.name}
	}
	return r.shown()
}
