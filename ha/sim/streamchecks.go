package sim

import (
	"time"

	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/ha"
)

// committed is what a commit has made of the streams of the epoch before.
type committed struct {
	ended ha.Stream
	older bool // an older backup was chosen: nothing of the log is in the new epoch
	state *state
}

// on reports whether the world has streams.
func (w *World) on() bool { return w.streams != nil }

// headStreams checks what a version of the head says of streams.
func (c *checker) headStreams(last, h *ha.Head) {
	s := c.w.streams
	if s == nil {
		return
	}
	if h.Epoch != last.Epoch {
		c.commitStreams(last, h)
		return
	}
	now, before := h.Streams[db], last.Streams[db]
	switch {
	case now.ID == before.ID:
		if now.Tip.Sequence < before.Tip.Sequence {
			c.fail(Streams, "the head names part %d of stream %s, and named part %d", now.Tip.Sequence, now.ID, before.Tip.Sequence)
		}
		return
	case now.ID != stream.ID{Epoch: h.Epoch, N: before.ID.N + 1}:
		c.fail(Streams, "stream %s comes after stream %s in epoch %d", now.ID, before.ID, h.Epoch)
	case s.opened[now.ID]:
		c.fail(Streams, "stream %s was opened twice", now.ID)
	}
	s.opened[now.ID] = true
	c.w.trace("stream %s begins at %d, before it %d, unbased %v", now.ID, now.From, len(now.Before), now.Unbased)
}

// commitStreams checks that a commit has ended all that the head named, and what of it is
// in the new epoch.
func (c *checker) commitStreams(last, h *ha.Head) {
	s := c.w.streams
	st, named := last.Logs()[db]
	ended := h.Ended[db]
	if len(h.Streams) > 0 || named != (ended.ID == st.ID && !ended.ID.IsZero()) || len(h.Ended) > 1 {
		c.fail(Streams, "epoch %d begins with stream %s ended, and the head before names stream %s", h.Epoch, ended.ID, st.ID)
		return
	}
	var state *state
	given := false
	if a := c.sent[h.Nonce]; a != nil {
		state, given = a.host.disk.state, a.promotion.WithoutLog
		if a.disks != a.host.disks {
			state = nil // its disk was put back since
		}
	}
	made := committed{ended: ended, older: h.CutOff != nil || given, state: state}
	s.ends[h.Epoch] = made
	if named {
		end := s.parts[stream.Key(db, ended.ID, ended.Tip.Sequence)]
		if end == nil || end.end == nil || end.digest != ended.Tip.Digest {
			c.fail(Streams, "epoch %d begins, and stream %s has no end part %d", h.Epoch, ended.ID, ended.Tip.Sequence)
			return
		}
	}
	switch {
	case c.w.tainted || state == nil:
	case made.older:
		s.confirmed = nil // given up, on an operator's word
	case s.confirmed != nil && !state.contains(s.confirmed):
		c.fail(Streams, "write %d was confirmed at %d, and epoch %d begins without it, at %d", s.confirmed.write, s.confirmed.depth, h.Epoch, state.depth)
	}
}

// appliedAll reports whether a promotion's state is that of its backup, with the log of
// the streams that it has ended.
func (c *checker) appliedAll(state *state, h *ha.Head) bool {
	from := c.w.backups[h.Newest.ID].state
	ended := h.Ended[db]
	last := c.w.streams.lastOf(ended)
	if h.CutOff != nil || last == nil || from.position() >= last.to {
		return state.digest == from.digest
	}
	return state.digest == last.state.digest && state.contains(from)
}

// confirmed checks what a source is told to be in the bucket.
func (c *checker) confirmed(h *Host, id stream.ID, confirmed *state) {
	s := c.w.streams
	if c.w.tainted {
		return // a copy, or one that was put back, may be told what its original never is
	}
	if made, over := s.ends[id.Epoch+1]; over {
		within := made.ended.ID == id && confirmed.position() <= made.ended.Tip.To || len(made.ended.Before) > 0
		switch {
		case made.older && within, made.state == nil:
		case made.older || !made.state.contains(confirmed):
			c.fail(Streams, "%s: write %d of stream %s is confirmed, at %d, and is not in epoch %d", h.id, confirmed.write, id, confirmed.depth, id.Epoch+1)
		}
		return
	}
	if s.confirmed == nil || s.confirmed.depth < confirmed.depth {
		s.confirmed = confirmed
	}
}

// opensStream checks that no stream is opened while somebody holds the lease, which the
// active has had the time to see.
func (c *checker) opensStream(p *Process, e ha.Write) {
	h, ok := e.Object.(*ha.Head)
	s := c.w.streams
	if !ok || s == nil || e.Cond.Match() != c.w.store.objects[ha.HeadKey].token || h.Epoch != c.w.head.Epoch || h.Streams[db].ID == c.w.head.Streams[db].ID {
		return
	}
	l := c.w.lease()
	if l == nil || l.Released || l.Holder.Name == p.h.disk.name || p.h.stale || p.h.astray || c.w.now < p.h.fence.well {
		return
	}
	if c.w.now > s.leaseSince+seenWithin && c.w.now < s.leaseAt+time.Duration(l.TTL) {
		c.fail(Streams, "%s opens stream %s while %s has held the lease %s since %v", p.h.id, h.Streams[db].ID, l.Holder.Name, l.ID, s.leaseSince)
	}
}

// seenWithin is how old a look at the lease may be that counts, on clocks that drift.
const seenWithin = 3 * time.Second

// lease is the lease as the store has it; nil: there is none.
func (w *World) lease() *ha.Lease {
	l, _ := w.store.objects[ha.LeaseKey].value.(*ha.Lease)
	return l
}

// leaseWritten notes who holds the lease.
func (c *checker) leaseWritten(l *ha.Lease) {
	if s := c.w.streams; s != nil {
		if s.leaseID != l.ID {
			s.leaseID, s.leaseSince = l.ID, c.w.now
		}
		s.leaseAt = c.w.now
	}
}

// watch looks every second whether the active has a stream that goes on, if nothing is in
// its way.
func (s *streams) watch() {
	for _, h := range s.w.hosts {
		if !s.shouldShip(h) {
			h.unshipped = s.w.now
			continue
		}
		ttl := h.w.head.Fencing.TTL
		if l := s.w.lease(); l != nil {
			ttl = max(ttl, l.TTL) // that of when it was taken
		}
		bound := h.clock.lasts(time.Duration(ttl+h.w.head.Fencing.Margin)) + 2*poll + slack
		if since := max(h.unshipped, h.streamsWell, h.fence.well, h.proc.born); s.w.now > since+bound {
			s.w.check.fail(Streams, "%s leads, nobody holds the lease, and for %v it has had no stream to go on with\n%s", h.id, s.w.now-since, s.w.describe())
		}
	}
	if !s.w.healed || s.w.queue.Len() > 0 {
		s.w.after(time.Second, s.watch)
	}
}

// shouldShip reports whether a host leads, without a stream that goes on, and nothing is
// in the way of one.
func (s *streams) shouldShip(h *Host) bool {
	p, w := h.proc, s.w
	if p == nil || p.m == nil || h.idle() || !p.admitted || h.cut != cutNot || h.writes != diskWell || h.gone || h.astray || h.proxy != nil || !h.app || w.lostHead != nil {
		return false
	}
	st := p.m.Status()
	if p.incarnation != w.head.Active.Incarnation || !st.Leading || st.App != "running" || st.Handover != nil || st.Promotion != nil || st.Older != nil || p.leaving {
		return false
	}
	if l := w.lease(); l != nil && !l.Released && w.now < s.leaseAt+h.clock.lasts(time.Duration(l.TTL+w.head.Fencing.Margin)+poll) {
		return false
	}
	return !s.ships(h)
}

// ships reports whether a host ships its log in the stream that the head names.
func (s *streams) ships(h *Host) bool {
	ship, st := h.proc.ship, s.w.head.Streams[db]
	return ship != nil && !ship.over && ship.stream.ID == st.ID && !st.Closed
}

// allShipped reports whether everything that a host has is in the bucket, and its source
// knows.
func (s *streams) allShipped(h *Host) bool {
	return s == nil || s.ships(h) && h.proc.ship.told == h.disk.state.position() && !s.w.head.Streams[db].Unbased
}
