package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/ha"
)

// In worlds with streams the application's log is shipped as it is written. A position is
// how many writes a state has; a part holds writes. What a shipper and a promoter do with
// parts is package agent's, not the core's: here it is done by the same rules.

// db is the source whose log is shipped.
const db = "db"

// StreamFaults say what goes wrong with streams.
type StreamFaults struct {
	Request float64 // share of requests for parts that go wrong
	Slow    float64 // share of heads with a new stream that land long after the client gave up
	Gap     float64 // share of new streams whose source has lost the log before them
	Expire  bool    // parts that nothing names expire, and their names with them
	Tamper  bool    // somebody puts other parts of the same names in place
	Lose    bool    // somebody deletes parts that the head names
	Rewind  bool    // the disk of an active has not kept what it said it has
}

// part is one object of a stream.
type part struct {
	id       stream.ID
	seq      uint64
	by       string // incarnation of its writer
	previous string
	digest   string
	from, to stream.Position
	log      []int  // the writes, the oldest first
	state    *state // that the log led to where it was written
	end      *stream.End
}

// slows reports whether what is written is a head with a new stream that is long under way.
func (s *streams) slows(value any) bool {
	h, ok := value.(*ha.Head)
	return ok && !s.w.healed && s.w.head != nil && h.Streams[db].ID != s.w.head.Streams[db].ID && s.chance(s.faults.Slow)
}

// seal gives a part its digest, once it is as it will be.
func (pt *part) seal() *part {
	var end stream.End
	if pt.end != nil {
		end = *pt.end
	}
	h := mix(uint64(pt.from)<<32|uint64(pt.to), pt.state.digest)
	for _, c := range fmt.Sprint(pt.id, pt.seq, pt.by, pt.previous, end, pt.end != nil) {
		h = mix(h, uint64(c))
	}
	pt.digest = fmt.Sprintf("%016x", h)
	return pt
}

func (pt *part) name() string { return stream.Key(db, pt.id, pt.seq) }

func (pt *part) tip() stream.Tip {
	return stream.Tip{Sequence: pt.seq, Digest: pt.digest, To: pt.to}
}

// follows reports whether a part goes on from a tip.
func (pt *part) follows(tip stream.Tip) bool { return pt.previous == tip.Digest && pt.from == tip.To }

// streams are the parts in the bucket, and what is known of them.
type streams struct {
	w      *World
	rng    *rand.Rand // of its own: what happens otherwise stays the same
	faults StreamFaults
	parts  map[string]*part
	made   map[string]*part // the first of each name, whatever has become of it

	opened     map[stream.ID]bool
	dropped    map[stream.ID]time.Duration // since when nothing names a stream
	confirmed  *state                      // the newest write of which a source was told that it is in the bucket
	ends       map[uint64]committed        // by the epoch that a commit has begun
	leaseID    string
	leaseSince time.Duration // when that lease was taken
	leaseAt    time.Duration // when it was written last
}

func newStreams(w *World) *streams {
	s := &streams{
		w: w, rng: rand.New(rand.NewPCG(w.opt.Seed, 0x73747265616d73)), faults: *w.opt.Streams,
		parts: map[string]*part{}, made: map[string]*part{}, opened: map[stream.ID]bool{}, dropped: map[stream.ID]time.Duration{}, ends: map[uint64]committed{},
	}
	w.after(time.Second, s.watch)
	if s.faults.Expire {
		w.after(time.Minute, s.expire)
	}
	for _, fault := range []struct {
		on bool
		do func()
	}{{s.faults.Tamper, s.tamper}, {s.faults.Lose, s.lose}, {s.faults.Rewind, s.rewind}} {
		if fault.on {
			w.after(time.Minute, fault.do)
		}
	}
	return s
}

// chance and between are World's, by the streams' own generator.
func (s *streams) chance(p float64) bool { return s.rng.Float64() < p }

func (s *streams) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(s.rng.Int64N(int64(max(0, hi-lo))+1))
}

// create gives a part its name, if nothing has that.
func (s *streams) create(pt *part) bool {
	if s.parts[pt.name()] != nil {
		return false
	}
	s.parts[pt.name()] = pt
	if s.made[pt.name()] == nil {
		s.made[pt.name()] = pt
	}
	return true
}

// unnamedFor is how long after nothing names a stream its parts expire: longer than any
// TTL that an operator sets, on any clock.
const unnamedFor = 2 * time.Minute

// expire has all parts of streams go that nothing has named for a while.
func (s *streams) expire() {
	named := map[stream.ID]bool{}
	for _, one := range s.w.head.Logs() {
		for _, st := range append(slices.Clone(one.Before), one) {
			named[st.ID] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.parts)) {
		id := s.parts[name].id
		switch since, is := s.dropped[id]; {
		case named[id]:
			delete(s.dropped, id)
		case !is:
			s.dropped[id] = s.w.now
		case s.w.now > since+unnamedFor:
			delete(s.parts, name)
		}
	}
	s.w.after(10*time.Second, s.expire)
}

// tamper puts another part in place of one that a promoter will read: one of the same
// length, from the same key, of another history.
func (s *streams) tamper() {
	if st, ok := s.w.head.Streams[db]; ok && !s.w.healed {
		name := stream.Key(db, st.ID, st.Tip.Sequence)
		if pt := s.parts[name]; pt != nil && pt.end == nil && s.parts[stream.Key(db, st.ID, st.Tip.Sequence+1)] != nil {
			other := *pt
			other.log = slices.Clone(pt.log)
			for i := range other.log {
				other.log[i] += 1 << 30
			}
			other.by = "somebody"
			s.parts[name] = other.seal()
			s.w.trace("somebody replaces part %s", name)
		}
	}
	s.w.after(s.between(20*time.Second, 2*time.Minute), s.tamper)
}

// lose deletes the part that the head names.
func (s *streams) lose() {
	if st, ok := s.w.head.Streams[db]; ok && !s.w.healed && !st.Closed {
		name := stream.Key(db, st.ID, st.Tip.Sequence)
		s.w.trace("somebody deletes part %s", name)
		delete(s.parts, name)
	}
	s.w.after(s.between(30*time.Second, 4*time.Minute), s.lose)
}

// rewind has an active's application go on without its last writes: its disk has said
// that it had kept them. Nobody was promised anything of that. What a backup has is left:
// decision 24 says why.
func (s *streams) rewind() {
	for _, h := range s.w.hosts {
		if p := h.proc; s.w.healed || !h.executing() || p == nil || p.incarnation != s.w.head.Active.Incarnation || h.disk.swapped {
			continue
		}
		s.w.trace("%s: the application has lost its last writes", h.id)
		s.w.tainted = true
		h.disk.state.save()
		for range 1 + s.rng.IntN(30) {
			if before := h.disk.state.parent; before != nil && s.backedUp(before) {
				h.disk.state = before
			}
		}
	}
	s.w.after(s.between(30*time.Second, 4*time.Minute), s.rewind)
}

// backedUp reports whether a state has all that is in the newest backup.
func (s *streams) backedUp(of *state) bool {
	newest := s.w.head.Newest
	return newest == nil || of.contains(s.w.backups[newest.ID].state)
}

// last is the last part with log before the end of a stream, as it was written; nil:
// there is none.
func (s *streams) last(id stream.ID, end uint64) *part {
	for seq := end; seq > 0; seq-- {
		if pt := s.made[stream.Key(db, id, seq)]; pt != nil && pt.end == nil {
			return pt
		}
	}
	return nil
}

// lastOf is the last part of the log up to the end of a stream that a backup leads up to.
func (s *streams) lastOf(st ha.Stream) *part {
	for _, one := range slices.Backward(st.Led()) {
		if pt := s.last(one.ID, one.Tip.Sequence); pt != nil {
			return pt
		}
	}
	return nil
}

// fate draws what becomes of a request for a part.
func (s *streams) fate(p *Process) fate {
	out, back := s.between(2*time.Millisecond, 80*time.Millisecond), s.between(2*time.Millisecond, 80*time.Millisecond)
	giveUp := p.h.clock.lasts(requestTimeout)
	switch {
	case !p.admitted || p.h.astray || p.h.cut == cutBoth:
		return fate{lands: -1, answers: giveUp}
	case p.h.cut == cutAnswers:
		return fate{lands: out, answers: giveUp}
	case s.w.healed || !s.chance(s.faults.Request):
		return fate{lands: out, answers: out + back, known: true}
	}
	p.streams().unwellStreams(s.w.now + giveUp)
	switch s.rng.IntN(5) {
	case 0: // nothing happened
		return fate{lands: -1, answers: out + back}
	case 1: // the answer is lost
		return fate{lands: out, answers: giveUp}
	case 2: // slow
		lands := s.between(out, requestTimeout/2)
		return fate{lands: lands, answers: lands + back, known: true}
	case 3: // 412 to oneself
		return fate{lands: out, answers: out + back, beaten: true}
	default: // lands long after the client gave up
		return fate{lands: giveUp + s.between(0, lateBy-requestTimeout), answers: giveUp}
	}
}

// put creates a part once.
func (p *Process) put(pt *part, then func(ha.Outcome)) {
	s := p.h.w.streams
	f, o := s.fate(p), ha.Unknown
	if f.lands >= 0 {
		s.w.after(f.lands, func() {
			created := s.create(pt)
			switch {
			case f.beaten, f.known && !created:
				o = ha.Lost
			case f.known:
				o = ha.OK
			}
		})
	}
	p.soon(f.answers, func() { then(o) })
}

// get reads a part.
func (p *Process) get(id stream.ID, seq uint64, then func(*part, ha.Outcome)) {
	s := p.h.w.streams
	f, o := s.fate(p), ha.Unknown
	var pt *part
	if f.known {
		s.w.after(f.lands, func() {
			if pt, o = s.parts[stream.Key(db, id, seq)], ha.OK; pt == nil {
				o = ha.Missing
			}
		})
	}
	p.soon(f.answers, func() { then(pt, o) })
}

// soon does something later, once the process goes on, if it lives.
func (p *Process) soon(d time.Duration, do func()) {
	p.h.w.after(d, func() {
		switch {
		case !p.alive():
		case p.h.frozen():
			p.soon(time.Second, do)
		default:
			do()
		}
	})
}

func (x streaming) unwellStreams(until time.Duration) {
	p := x.p
	p.h.streamsWell = max(p.h.streamsWell, until)
}

// at is what a state was at an earlier position; nil: it has not come to it.
func (s *state) at(position stream.Position) *state {
	for s != nil && stream.Position(s.depth) > position { //nolint:gosec // a depth is never negative
		s = s.parent
	}
	if s == nil || stream.Position(s.depth) != position { //nolint:gosec // likewise
		return nil
	}
	return s
}

// contains reports whether a state goes back to another one.
func (s *state) contains(other *state) bool {
	was := s.at(other.position())
	return was != nil && was.digest == other.digest
}

func (s *state) position() stream.Position { return stream.Position(s.depth) } //nolint:gosec // likewise

// since are the writes after a position, the oldest first.
func (s *state) since(position stream.Position) (log []int) {
	for ; s != nil && s.position() > position; s = s.parent {
		log = append(log, s.write)
	}
	slices.Reverse(log)
	return log
}

// logLost reports whether somebody has taken parts away that a promotion needs.
func (w *World) logLost() bool {
	return w.on() && (w.streams.faults.Lose || w.streams.faults.Tamper || w.putBacks > 0)
}

// putBack puts the parts back to an earlier state. Nobody knows any more which streams
// there were after it, nor what was confirmed.
func (s *streams) putBack(parts map[string]*part) {
	s.parts, s.made = maps.Clone(parts), maps.Clone(parts)
	s.opened, s.ends = map[stream.ID]bool{}, map[uint64]committed{}
	s.leaseSince, s.leaseAt = s.w.now, s.w.now
}
