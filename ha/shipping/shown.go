package shipping

import (
	"context"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/stream"
)

// Shown is how far the log of a source has been shipped, for people.
type Shown struct {
	Source string
	Stream stream.ID  // zero: none is shipped now
	Tip    stream.Tip // the newest part that the bucket has confirmed
	// UpTo is the time up to which everything that was read of the log is in the bucket,
	// on this host's clock; zero: that is not known.
	UpTo      time.Time
	Ships     bool   // the log is read, and nothing of before that waits
	Based     bool   // a backup leads up to the stream: a promotion would apply it
	Confirmed bool   // the source was told that it is in the bucket, but for what has just come there
	Error     string // why it is not shipped; "": nothing is known to be wrong
}

// Shown lists the sources in force whose log can be shipped.
func (s *Shipping) Shown() (all []Shown) {
	names := s.Sources()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		one := s.shippers[name]
		if one == nil {
			all = append(all, Shown{Source: name})
			continue
		}
		all = append(all, one.shown())
	}
	return all
}

// Counts are what this process has shipped, by the sources in force whose log can be.
func (s *Shipping) Counts() map[string]Counts {
	names := s.Sources()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]Counts)
	for _, name := range names {
		c := s.countsOf(name)
		all[name] = Counts{Parts: c.parts.Load(), Bytes: c.bytes.Load(), Gaps: c.gaps.Load()}
	}
	return all
}

// countsOf are those of a source. The caller holds the lock.
func (s *Shipping) countsOf(name string) *counts {
	c := s.counts[name]
	if c == nil {
		c = new(counts)
		s.counts[name] = c
	}
	return c
}

// goesOn notes that nothing waits to be shipped, and that the bucket answers. A stream that
// is based by now is confirmed, though nothing more is written.
func (r *run) goesOn(ctx context.Context, log source.Log) error {
	r.isLive()
	r.isOverTrouble(ctx)
	r.mu.Lock()
	is := r.isConfirmed()
	r.mu.Unlock()
	if is {
		return nil
	}
	return r.confirm(ctx, log)
}

func (r *run) isOverTrouble(ctx context.Context) {
	r.mu.Lock()
	r.reading.err = ""
	r.mu.Unlock()
	r.cfg.Log.TroubleOver(ctx, kind, r.name, "the log of "+r.name+" is shipped again")
}

// begins notes that the log is read.
func (r *run) begins(o *own) {
	now := r.cfg.Clock.Now().Mono
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading.open, r.reading.opened = o.waits, now
}

// ends notes that the log is read no more.
func (r *run) ends() {
	now := r.cfg.Clock.Now().Wall
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading.ends(now)
}

// isLive notes that a part was due before it was full, or that nothing came: what had
// gathered before the log was opened would have come by now, and faster.
func (r *run) isLive() {
	now := r.cfg.Clock.Now().Mono
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading.live = r.reading.live || now-r.reading.opened >= r.cfg.Every
}

// confirmGrace is for how long a part may be there before its source is told: that is done
// next.
const confirmGrace = 2 * time.Second

// isConfirmed reports whether the source was told of all that is there. The caller holds the
// lock.
func (r *run) isConfirmed() bool { return r.confirmed == r.tip.To }

// shown is how far it is.
func (r *run) shown() Shown {
	now := r.cfg.Clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	justThere := !r.unbased && now.Mono-r.reading.reached < confirmGrace
	return Shown{
		Source: r.name, Stream: r.id, Tip: r.tip, UpTo: r.reading.upTo(now.Wall), Ships: r.reading.live,
		Based: !r.unbased, Confirmed: r.isConfirmed() || justThere, Error: r.reading.err,
	}
}
