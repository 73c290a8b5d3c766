package sim

import (
	"time"

	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/ha"
)

// streaming is what a process does with streams.
type streaming struct{ p *Process }

func (p *Process) streams() streaming { return streaming{p} }

// flaws are rules that a mutation takes away.
type flaws struct {
	unchecked bool // what is read is not compared with the digest that names it
	early     bool // what is sent is confirmed
	assumes   bool // what has the name of a part that was sent is taken for it
	unbounded bool // it is confirmed whenever
}

// shipper ships a host's log in one stream.
type shipper struct {
	p      *Process
	stream ha.Stream
	tip    stream.Tip
	walked bool // what is behind the tip was read
	busy   bool // a request is under way
	over   bool // nothing more is shipped
	sent   *part
	last   *state           // that the part of the tip led to; nil: it was not read
	told   stream.Position  // up to where its source knows that all is in the bucket
	closes func(stream.Tip) // the stream is to be closed; nil: it is not
	fails  func()           // it cannot be
}

// shipStreams carries out what the core asks for of streams.
func (x streaming) shipStreams(e ha.Effect, done func(ha.Done)) {
	p := x.p
	switch e := e.(type) {
	case ha.PrepareStream:
		p.soon(p.h.w.streams.between(100*time.Millisecond, 3*time.Second), func() { p.prepare(e) })
	case ha.Ship:
		if s := p.ship; s != nil && s.stream.ID == e.Stream.ID && !s.over && s.closes == nil {
			s.stream = e.Stream
			s.confirm()
			return
		}
		p.streams().newShipper(e.Stream)
	case ha.ShipUntil:
		p.shipUntil = e.Until
		if s := p.ship; s != nil {
			s.confirm()
			s.lookForEnd()
		}
	case ha.StopShipping:
		if s := p.ship; s != nil && s.closes != nil {
			p.soon(0, s.fails)
		}
		p.ship, p.shipUntil = nil, ha.Now{}
	case ha.CloseStreams:
		p.streams().closeStreams(e, done)
	case ha.EndStreams:
		p.streams().endStreams(e, done)
	}
}

func (x streaming) newShipper(st ha.Stream) *shipper {
	p := x.p
	s := &shipper{p: p, stream: st, tip: st.Tip}
	p.ship = s
	s.begin()
	return s
}

// prepare says where a new stream begins.
func (p *Process) prepare(e ha.PrepareStream) {
	h, w := p.h, p.h.w
	if h.gone {
		p.soon(time.Second, func() { p.prepare(e) })
		return
	}
	ready := ha.StreamReady{Source: db, From: h.disk.state.position(), Gap: true}
	if after := e.After; after.Closed && !w.streams.chance(w.streams.faults.Gap) {
		if last := w.streams.last(after.ID, after.Tip.Sequence); last == nil || h.disk.state.contains(last.state) {
			ready = ha.StreamReady{Source: db, From: min(after.Tip.To, h.disk.state.position())}
		}
	}
	p.deliver(ready)
}

// live reports whether a shipper is the one in force.
func (s *shipper) live() bool { return s.p.ship == s && !s.over }

// begin compares the part of the tip with the host's own log.
func (s *shipper) begin() {
	if s.tip.Sequence == 0 {
		s.next(0)
		return
	}
	s.ask(s.tip.Sequence, func(pt *part, o ha.Outcome) {
		switch {
		case o == ha.Unknown:
			s.again(s.begin)
		case pt == nil: // it has expired, or somebody has deleted it
			s.next(0)
		case pt.end != nil:
			s.ended(pt)
		case !s.own(pt):
			s.forked(pt)
		default:
			s.last = pt.state
			s.next(0)
		}
	})
}

// ask reads a part, while nothing else is asked.
func (s *shipper) ask(seq uint64, then func(*part, ha.Outcome)) {
	s.busy = true
	s.p.get(s.stream.ID, seq, func(pt *part, o ha.Outcome) {
		if s.busy = false; s.live() {
			then(pt, o)
		}
	})
}

// again tries something again in a while.
func (s *shipper) again(do func()) {
	s.busy = true
	s.p.soon(time.Second, func() {
		if s.busy = false; s.live() {
			do()
		}
	})
}

// next goes on after some time.
func (s *shipper) next(d time.Duration) {
	s.busy = true
	s.p.soon(d, func() {
		if s.busy = false; s.live() {
			s.step()
		}
	})
}

// step does what is to be done next: read what is behind the tip, send what there is,
// close the stream.
func (s *shipper) step() {
	h := s.p.h
	switch own := h.disk.state; {
	case s.last != nil && !own.contains(s.last): // the host has lost what it has shipped
		s.forked(h.w.streams.last(s.stream.ID, s.tip.Sequence))
	case s.sent != nil:
		s.send()
	case !s.walked:
		s.ask(s.tip.Sequence+1, func(pt *part, o ha.Outcome) {
			switch o {
			case ha.OK:
				s.take(pt)
				return
			case ha.Missing:
				s.walked = true
			}
			s.next(100 * time.Millisecond)
		})
	case h.gone:
		s.next(time.Second)
	case own.position() > s.tip.To:
		to := min(own.position(), s.tip.To+1+stream.Position(h.w.streams.rng.IntN(20))) //nolint:gosec // small
		s.sent = s.part(own.at(to))
		s.send()
	case s.closes != nil:
		s.sent = s.part(own)
		s.sent.end = &stream.End{By: s.p.incarnation}
		s.sent.seal()
		s.send()
	default:
		s.next(h.w.streams.between(200*time.Millisecond, time.Second))
	}
}

// part is the one behind the tip, up to a state.
func (s *shipper) part(to *state) *part {
	pt := &part{
		id: s.stream.ID, seq: s.tip.Sequence + 1, by: s.p.incarnation, previous: s.tip.Digest,
		from: s.tip.To, to: to.position(), log: to.since(s.tip.To), state: to,
	}
	return pt.seal()
}

// send sends the same bytes until the answer is clear.
func (s *shipper) send() {
	pt := s.sent
	if s.p.flaws.early {
		s.p.confirm(s, pt.to)
	}
	s.busy = true
	s.p.put(pt, func(o ha.Outcome) {
		if s.busy = false; !s.live() {
			return
		}
		switch {
		case o == ha.OK, o == ha.Lost && s.p.flaws.assumes:
			s.landed(pt)
		case o == ha.Lost:
			s.lookAt(pt)
		default:
			s.next(time.Second)
		}
	})
}

// lookAt reads what has the name of a part that was sent.
func (s *shipper) lookAt(sent *part) {
	s.ask(sent.seq, func(pt *part, o ha.Outcome) {
		switch {
		case o != ha.OK: // 404 after 412: again
			s.again(func() { s.lookAt(sent) })
		case pt.digest == sent.digest:
			s.landed(sent)
		default:
			s.sent = nil
			s.take(pt)
		}
	})
}

// landed goes on after a part of its own.
func (s *shipper) landed(pt *part) {
	s.sent = nil
	if pt.end != nil {
		s.ended(pt)
		return
	}
	s.advance(pt)
}

// take takes in a part that somebody else has written, or an earlier process of this
// host.
func (s *shipper) take(pt *part) {
	switch {
	case !pt.follows(s.tip) && !s.p.flaws.unchecked:
		s.forked(pt)
	case pt.end != nil:
		s.ended(pt)
	case !s.own(pt):
		s.forked(pt)
	default:
		s.advance(pt)
	}
}

// own reports whether the log of a part is the host's own.
func (s *shipper) own(pt *part) bool {
	was := s.p.h.disk.state.at(pt.to)
	return was != nil && was.digest == pt.state.digest
}

func (s *shipper) advance(pt *part) {
	s.tip, s.last = pt.tip(), pt.state
	s.confirm()
	s.p.deliver(ha.Shipped{Source: db, ID: s.stream.ID, Tip: s.tip})
	s.next(s.p.h.w.streams.between(50*time.Millisecond, time.Second))
}

// ended ends the shipper: the stream has an end part.
func (s *shipper) ended(pt *part) {
	s.over = true
	if s.closes != nil {
		s.closes(pt.tip())
		return
	}
	s.p.deliver(ha.StreamClosed{Source: db, ID: s.stream.ID, Tip: pt.tip(), End: *pt.end})
}

func (s *shipper) forked(pt *part) {
	s.over = true
	s.p.h.w.trace("%s: stream %s holds another log, at part %d", s.p.h.id, s.stream.ID, s.tip.Sequence)
	if s.closes != nil {
		s.fails()
		return
	}
	forked := ha.StreamForked{Source: db, ID: s.stream.ID}
	if pt != nil {
		forked.Tip, forked.Incarnation = pt.tip(), pt.by
	}
	s.p.deliver(forked)
}

// lookForEnd looks whether an idle stream was ended.
func (s *shipper) lookForEnd() {
	if s.live() && s.walked && s.sent == nil {
		s.walked = false
	}
}

// confirm tells the source how much is in the bucket, if it may.
func (s *shipper) confirm() {
	if s.walked && s.live() {
		s.p.confirm(s, s.tip.To)
	}
}

// confirm has a source know that everything before a position is in the bucket.
func (p *Process) confirm(s *shipper, to stream.Position) {
	now, until := p.clock(), p.shipUntil
	if s.stream.Unbased || (now.Mono > until.Mono || now.Boot > until.Boot) && !p.flaws.unbounded {
		return
	}
	if own := p.h.disk.state.at(to); own != nil {
		s.told = max(s.told, to)
		p.h.w.check.confirmed(p.h, s.stream.ID, own)
	}
}

// closeStreams ships the rest and closes the stream.
func (x streaming) closeStreams(e ha.CloseStreams, done func(ha.Done)) {
	p := x.p
	st := e.Streams[db]
	t := &task{do: func() ha.Done { return failed(e.ID, "close the stream") }, done: done}
	p.tasks[e.ID] = t
	end := func(d ha.Done) {
		if p.tasks[e.ID] == t {
			delete(p.tasks, e.ID)
			p.ship = nil
			done(d)
		}
	}
	closed := func(tip stream.Tip) {
		end(ha.Done{ID: e.ID, Ends: map[string]ha.Stream{db: {ID: st.ID, Tip: tip}}})
	}
	fails := func() { end(failed(e.ID, "close the stream")) }
	switch w := p.h.w; {
	case st.Closed:
		p.soon(time.Millisecond, func() { closed(st.Tip) })
		return
	case !w.healed && w.streams.chance(w.faults.Work):
		p.soon(w.streams.between(time.Millisecond, 5*time.Second), fails)
	}
	s := p.ship
	if s == nil || s.stream.ID != st.ID || s.over {
		s = p.streams().newShipper(st)
	}
	s.closes, s.fails = closed, fails
}
