package shipping

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/event"
)

// Every is how often a log that goes on is shipped.
const Every = time.Second

// Config is what a Shipping is given.
type Config struct {
	Chain       Chain
	Sources     func() []source.Source // in force
	Incarnation string                 // of this process
	Every       time.Duration          // how often a log that goes on is shipped
	Clock       clock.Clock
	Post        func(ha.Event)
	Log         event.Reporter
	// MayLift reports whether commits that wait for a bucket that does not answer may be
	// told to go on: the cluster's fencing lets this active go on without it.
	MayLift func() bool
	// Unheard reports whether the bucket has been away since this process began: nothing
	// is shipped until it answers.
	Unheard func() bool
}

// Chain is the streams in the bucket.
type Chain interface {
	Append(ctx context.Context, after stream.Tip, p stream.Part) (stream.Tip, error)
	Read(ctx context.Context, source string, id stream.ID, after stream.Tip) (stream.Part, stream.Tip, error)
}

// Shipping is the shippers of all sources whose log can be shipped. It is safe for
// concurrent use.
type Shipping struct {
	ctx  context.Context // that shippers have, which do not end with it
	cfg  Config
	gate *gate

	mu       sync.Mutex
	ended    bool
	running  sync.WaitGroup
	shippers map[string]*shipper
	counts   map[string]*counts // by source
}

// New ships nothing yet. Shippers have the values of ctx; they end with Stop.
func New(ctx context.Context, cfg Config) *Shipping {
	return &Shipping{ctx: context.WithoutCancel(ctx), cfg: cfg, gate: newGate(cfg.Clock), shippers: make(map[string]*shipper), counts: make(map[string]*counts)}
}

// Run lets shippers run until ctx is done.
func (s *Shipping) Run(ctx context.Context) error {
	s.watchInherited(ctx)
	s.Stop()
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.running.Wait()
	return ctx.Err()
}

// Until says that a head of this process is confirmed: until then parts may be appended,
// and confirmed to their sources. Idle streams are looked at.
func (s *Shipping) Until(until ha.Now) {
	s.gate.open(until)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.shippers {
		one.look()
	}
}

// Prepare has a source asked where a new stream of it can begin (ha.StreamReady).
func (s *Shipping) Prepare(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from := s.source(name); from != nil {
		s.shipper(name, from).prepare()
	}
}

// Ship ships the stream of a source that a confirmed head names, if it does not already.
func (s *Shipping) Ship(name string, of ha.Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from := s.source(name); from != nil {
		s.shipper(name, from).ship(of)
	}
}

// source is the source of a name, if its log can be shipped.
func (s *Shipping) source(name string) source.Streamer {
	for _, src := range s.cfg.Sources() {
		if from, ok := src.(source.Streamer); ok && src.Name() == name {
			return from
		}
	}
	return nil
}

// Sources names those in force whose log can be shipped.
func (s *Shipping) Sources() (names []string) {
	for _, src := range s.cfg.Sources() {
		if _, ok := src.(source.Streamer); ok {
			names = append(names, src.Name())
		}
	}
	return names
}

// Stop stops all shippers: this instance is the active no longer, or not now. What a source
// is being told meanwhile was in the bucket before; nothing more is confirmed. Stop waits for
// no source.
func (s *Shipping) Stop() {
	s.gate.shut()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.shippers {
		one.stop()
	}
	clear(s.shippers)
}

// Close stops the server of each source, ships what is left, and closes the streams for
// ever. It returns where they end. One whose log cannot be shipped whole is an error:
// the others may be closed then.
func (s *Shipping) Close(ctx context.Context, streams map[string]ha.Stream, end stream.End) (map[string]ha.Stream, error) {
	var (
		mu   sync.Mutex
		ends = make(map[string]ha.Stream)
	)
	g, ctx := errgroup.WithContext(ctx)
	for name, of := range streams {
		if of.Closed {
			mu.Lock()
			ends[name] = of
			mu.Unlock()
			continue
		}
		one, err := s.find(name)
		if err != nil {
			return nil, err
		}
		g.Go(func() error {
			tip, err := one.close(ctx, of, end)
			if err != nil {
				return fmt.Errorf("close the stream %s of %s: %w", of.ID, name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			of.Tip, of.Closed = tip, true
			ends[name] = of
			return nil
		})
	}
	return ends, g.Wait()
}

func (s *Shipping) find(name string) (*shipper, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.shippers[name]
	if one == nil {
		return nil, fmt.Errorf("the log of %s is not being shipped", name)
	}
	return one, nil
}

// shipper is that of a source. The caller holds the lock.
func (s *Shipping) shipper(name string, from source.Streamer) *shipper {
	one := s.shippers[name]
	if one == nil || one.from != from {
		next := newShipper(s.ctx, &s.cfg, s.gate, s.start, name, from, s.countsOf(name))
		if one != nil {
			one.stop()
			next.before = one.last()
		}
		one = next
		s.shippers[name] = one
	}
	return one
}

// start runs do beside everything else, unless Run has ended. The caller holds the lock.
func (s *Shipping) start(do func()) bool {
	if !s.ended {
		s.running.Go(do)
	}
	return !s.ended
}
