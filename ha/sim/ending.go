package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/ha"
)

// ender ends a stream for a promotion.
type ender struct {
	p    *Process
	e    ha.EndStreams
	t    *task
	st   ha.Stream
	tip  stream.Tip
	last *state // that the last part led to
}

func (x streaming) endStreams(e ha.EndStreams, done func(ha.Done)) {
	p := x.p
	t := &task{do: func() ha.Done { return failed(e.ID, "end the stream") }, done: done}
	p.tasks[e.ID] = t
	en := &ender{p: p, e: e, t: t, st: e.Streams[db], tip: e.Streams[db].Tip, last: empty()}
	if p.h.w.fails(p.h.w.faults.Work) {
		p.soon(time.Second, func() { en.end(failed(e.ID, "end the stream")) })
		return
	}
	en.begin()
}

// begin reads the part that the head names.
func (en *ender) begin() {
	if en.tip.Sequence == 0 {
		en.walk()
		return
	}
	en.read(en.tip.Sequence, func(pt *part, o ha.Outcome) {
		switch {
		case o == ha.Unknown:
			en.p.soon(time.Second, en.begin)
		case pt == nil && en.e.Lost:
			en.walk()
		case pt == nil, pt.digest != en.tip.Digest && !en.p.flaws.unchecked && !en.e.Lost:
			en.end(failed(en.e.ID, "the stream ends before the part that the head names"))
		case pt.end != nil:
			en.ended(pt)
		default:
			en.last = pt.state
			en.walk()
		}
	})
}

func (en *ender) live() bool { return en.p.tasks[en.e.ID] == en.t }

func (en *ender) read(seq uint64, then func(*part, ha.Outcome)) {
	en.p.get(en.st.ID, seq, func(pt *part, o ha.Outcome) {
		if en.live() {
			then(pt, o)
		}
	})
}

// walk takes in what is behind the tip, and writes the end part.
func (en *ender) walk() {
	en.read(en.tip.Sequence+1, func(pt *part, o ha.Outcome) {
		switch {
		case o == ha.Missing:
			en.write()
		case o != ha.OK:
			en.p.soon(time.Second, en.walk)
		case !pt.follows(en.tip) && !en.p.flaws.unchecked:
			en.end(failed(en.e.ID, "a part does not continue the stream"))
		case pt.end != nil:
			en.ended(pt)
		default:
			en.tip, en.last = pt.tip(), pt.state
			en.walk()
		}
	})
}

func (en *ender) write() {
	pt := &part{
		id: en.st.ID, seq: en.tip.Sequence + 1, by: en.p.incarnation, previous: en.tip.Digest, from: en.tip.To, to: en.tip.To,
		state: en.last, end: &stream.End{Lease: en.e.Lease, Head: en.e.Head, By: en.p.incarnation},
	}
	pt.seal()
	en.p.put(pt, func(o ha.Outcome) {
		switch {
		case !en.live():
		case o == ha.OK:
			en.ended(pt)
		case o == ha.Lost:
			en.walk()
		default:
			en.p.soon(time.Second, en.walk) // it may have landed, or may yet
		}
	})
}

func (en *ender) ended(pt *part) {
	en.p.h.w.trace("%s: stream %s is ended with part %d, at %d", en.p.h.id, pt.id, pt.seq, pt.to)
	en.end(ha.Done{ID: en.e.ID, Ends: map[string]ha.Stream{db: {ID: en.st.ID, Tip: pt.tip()}}})
}

func (en *ender) end(d ha.Done) {
	if en.live() {
		delete(en.p.tasks, en.e.ID)
		en.t.done(d)
	}
}

// apply applies to a backup's state the log of the streams up to their ends.
func (x streaming) apply(base *state, last ha.Stream) (*state, error) {
	p := x.p
	now := base
	for _, st := range last.Led() {
		upTo := st.Tip.To
		if next := slices.IndexFunc(last.Before, func(b ha.Stream) bool { return b.ID == st.ID }) + 1; next > 0 && next < len(last.Before) {
			upTo = min(upTo, last.Before[next].From)
		} else if next > 0 && !last.Unbased {
			upTo = min(upTo, last.From)
		}
		var err error
		if now, err = p.streams().applyOne(now, st, upTo); err != nil {
			return nil, err
		}
	}
	return now, nil
}

// applyOne applies one stream up to a position, and reads it up to its end: what a part
// is, the next one tells.
func (x streaming) applyOne(now *state, st ha.Stream, upTo stream.Position) (*state, error) {
	p := x.p
	s := p.h.w.streams
	if now.position() >= upTo {
		return now, nil
	}
	tip, ended, wrong := stream.Tip{To: now.position()}, false, uint64(0)
	for seq := s.find(st, now.position()); !ended; seq++ {
		pt := s.parts[stream.Key(db, st.ID, seq)]
		switch {
		case pt == nil, seq > st.Tip.Sequence:
			return nil, fmt.Errorf("part %d of stream %s is missing: %w", seq, st.ID, errFault)
		case tip.Digest != "" && !pt.follows(tip) && !p.flaws.unchecked, tip.Digest == "" && pt.from > now.position():
			return nil, fmt.Errorf("part %d of stream %s does not follow: %w", seq, st.ID, errFault)
		}
		if ended = pt.end != nil; !ended && pt.from <= now.position() {
			var right bool
			if now, right = pt.replay(now, upTo); !right {
				wrong = seq
			}
		}
		tip = pt.tip()
	}
	switch {
	case tip.Sequence != st.Tip.Sequence:
		s.w.check.fail(Streams, "%s reads of stream %s up to part %d, and it ends with part %d", p.h.id, st.ID, tip.Sequence, st.Tip.Sequence)
	case wrong != 0:
		s.w.check.fail(Streams, "%s reads of stream %s what is no prefix of one chain: part %d", p.h.id, st.ID, wrong)
	}
	return now, nil
}

// find is the part that holds what comes after a position, which a reader finds by a
// binary search.
func (s *streams) find(st ha.Stream, at stream.Position) uint64 {
	for seq := uint64(1); seq < st.Tip.Sequence; seq++ {
		if pt := s.parts[stream.Key(db, st.ID, seq)]; pt != nil && pt.to > at {
			return seq
		}
	}
	return st.Tip.Sequence
}

// replay applies a part, up to a position, and reports whether that leads to what the
// log led to where it was written.
func (pt *part) replay(now *state, upTo stream.Position) (*state, bool) {
	if now.position() >= pt.to {
		return now, true
	}
	for _, write := range pt.log[now.position()-pt.from:] {
		if now.position() < upTo {
			now = now.add(write)
		}
	}
	if was := pt.state.at(now.position()); was != nil && was.digest == now.digest {
		return was, true
	}
	return now, false
}
