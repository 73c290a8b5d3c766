package ha

import (
	"maps"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/stream"
)

// An active has the logs of its sources shipped in streams. The head names those that
// are in force: nothing is shipped in a stream that no confirmed head of this process
// names. So whoever replaces the head knows them all, and ends them (ending.go). One
// that was ended is never gone on with: the active opens the next one, by the head, once
// nobody holds the promotion lease. Whose lease the end part cites does not matter:
// another promotion may have begun since, and counts on it.

// streamsLane is the streams of an active: which are shipped, and which are to be opened.
type streamsLane struct {
	*core
	head     *headLane
	lease    *leaseLane
	identity *identityLane
	app      *appLane
	work     *workLane
	handover *handoverLane
	farewell *farewellLane
	poll     *pollLane

	sources  []string               // whose logs are shipped
	told     map[string]Stream      // those that Ship was told of
	asked    map[string]stream.ID   // what PrepareStream was told of, by the stream before
	ready    map[string]StreamReady // where a new stream of a source can begin
	tips     map[string]Shipped     // the newest part known of each
	over     map[string]overStream  // streams of which this process knows that they are
	begun    map[string]stream.ID   // those in force when the last backup began
	shipping bool                   // something was told since StopShipping
	closing  bool                   // CloseStreams is under way
	lookedAt instant                // when the last look at the lease was sent that was for a new stream; never: none was
	mayOpen  bool                   // as of that look
	readHead bool                   // to see by whom a stream was ended
}

// overStream is a stream that is closed, or holds another log than this host's.
type overStream struct {
	id     stream.ID
	tip    stream.Tip // the end part
	forked bool
}

// use takes in whose logs are shipped from now on. What goes on is told again, for a
// source of the same name may be another one.
func (sl *streamsLane) use(ev UseStreams) {
	if slices.ContainsFunc(sl.sources, func(source string) bool { return !slices.Contains(ev.Sources, source) }) {
		sl.stop()
	}
	clear(sl.told)
	clear(sl.asked)
	clear(sl.ready)
	sl.sources = slices.Sorted(slices.Values(ev.Sources))
	sl.changed()
}

// hasSources reports whether there are sources whose logs are shipped.
func (sl *streamsLane) hasSources() bool { return len(sl.sources) > 0 }

// isReady takes in where a new stream of a source can begin.
func (sl *streamsLane) isReady(ev StreamReady) {
	if _, asked := sl.asked[ev.Source]; asked {
		sl.ready[ev.Source] = ev
	}
}

// shipped takes in that a part is in the bucket: the next heartbeat says so.
func (sl *streamsLane) shipped(ev Shipped) {
	if sl.inForce(ev.Source, ev.ID) {
		sl.tips[ev.Source] = ev
	}
}

// closed follows an end part that was met. By whom it is the head shows.
func (sl *streamsLane) closed(ev StreamClosed) {
	if !sl.inForce(ev.Source, ev.ID) || sl.isOver(ev.Source, ev.ID) {
		return
	}
	sl.isOverNow(ev.Source, overStream{id: ev.ID, tip: ev.Tip})
	sl.readHead = true
	by := "by this instance"
	if ev.End.Lease != "" {
		by = "by promotion " + ev.End.Lease
	}
	sl.report(Warn, "streams", "stream %s of source %s was ended %s: nothing more of it is shipped", ev.ID, ev.Source, by)
}

// planRead has the head read again after an end part was met.
func (sl *streamsLane) planRead() {
	if sl.readHead {
		sl.readHead = false
		sl.head.forget()
	}
}

// forked follows a stream that holds another log than this host's. Who renews the head
// goes on.
func (sl *streamsLane) forked(ev StreamForked) {
	if !sl.inForce(ev.Source, ev.ID) || sl.isOver(ev.Source, ev.ID) {
		return
	}
	sl.isOverNow(ev.Source, overStream{id: ev.ID, forked: true})
	sl.poll.setNext(sl.t)
	sl.report(Alarm, "streams", "stream %s of source %s holds another log than this host has (part %d, written by %s): a copy of this host is at work, or its disk was put back; a new stream begins, with a backup, if this instance is still the active",
		ev.ID, ev.Source, ev.Tip.Sequence, ev.Incarnation)
}

// isOverNow has a stream replaced by the next one.
func (sl *streamsLane) isOverNow(source string, over overStream) {
	sl.over[source] = over
	delete(sl.told, source)
	sl.changed()
}

// inForce reports whether the head names a stream, which this process ships.
func (sl *streamsLane) inForce(source string, id stream.ID) bool {
	h := sl.head.known()
	return h != nil && sl.leads() && h.Streams[source].ID == id
}

// isOver reports whether a stream that the head names is closed, or forked.
func (sl *streamsLane) isOver(source string, id stream.ID) bool { return sl.over[source].id == id }

// leads reports whether this process is the active, as far as it knows.
func (sl *streamsLane) leads() bool {
	p := sl.j.Promotion
	return sl.j.Role == RoleActive && sl.identity.isLeading() && sl.identity.refusal() == "" && (p == nil || p.Phase == PhaseFinish)
}

// plan has shipped what the confirmed head names, and a source get ready that has no
// stream to go on with.
func (sl *streamsLane) plan() {
	if !sl.leads() || sl.app.timeIsOver() { // a server does not stop while somebody receives its log, and does not confirm it
		sl.stop()
		return
	}
	h := sl.head.fresh()
	if h == nil || h.Active.Incarnation != sl.p.Self.Incarnation || sl.closing || sl.handover.closesStreams() {
		return
	}
	for _, source := range sl.sources {
		s, named := h.Streams[source]
		switch told, is := sl.told[source]; {
		case !named || s.Closed || sl.isOver(source, s.ID):
			sl.prepare(source, sl.upToDate(source, s))
		case !is || told.ID != s.ID || told.Unbased != s.Unbased:
			sl.told[source], sl.shipping = s, true
			sl.emit(Ship{Source: source, Stream: s})
		}
	}
}

// prepare has a source get ready for a new stream, after the one that the head names.
func (sl *streamsLane) prepare(source string, named Stream) {
	if before, is := sl.asked[source]; is && before == named.ID || !sl.mayBegin() {
		return
	}
	sl.asked[source], sl.shipping = named.ID, true
	delete(sl.ready, source)
	sl.emit(PrepareStream{Source: source, After: after(sl.head.fresh(), source, named)})
}

// after is the stream that a new one goes on from: the one that the head names or, at the
// beginning of an epoch that began with all of it, the one that its commit has closed.
func after(h *Head, source string, named Stream) Stream {
	if named.ID.IsZero() && h.CutOff == nil {
		return h.Ended[source]
	}
	return named
}

// mayBegin reports whether a stream may begin: the application runs, and is to go on.
func (sl *streamsLane) mayBegin() bool {
	return sl.leads() && sl.j.Handover == nil && sl.app.is(appRunning) && !sl.farewell.isLeaving()
}

// stop ends all shipping.
func (sl *streamsLane) stop() {
	if !sl.shipping {
		return
	}
	sl.shipping = false
	clear(sl.told)
	clear(sl.asked)
	clear(sl.ready)
	clear(sl.tips)
	clear(sl.over)
	clear(sl.begun)
	if sl.closing {
		sl.work.cancel()
	}
	sl.emit(StopShipping{})
}

// opens reports whether a new stream is to be opened: its source is ready for it.
func (sl *streamsLane) opens() bool { return len(sl.ready) > 0 && sl.mayBegin() }

// openWithin is for how long a look at the lease counts.
const openWithin = 2 * time.Second

// unsaid reports whether the head is to open a stream now.
func (sl *streamsLane) unsaid() bool {
	return sl.opens() && sl.mayOpen && sl.lookedAt != never && sl.t-sl.lookedAt <= openWithin
}

// planLook looks at the lease for a stream that is to be opened, if it has not just
// been looked at. While somebody holds it, it is looked at again and again.
func (sl *streamsLane) planLook() bool {
	if !sl.opens() || sl.lookedAt != never && !sl.due(sl.lookedAt+handoverPoll) {
		return false
	}
	sent := sl.t
	sl.lease.read(func() {
		sl.lookedAt = sent
		sl.mayOpen = sl.lease.seen() == nil || sl.lease.free() || sl.lease.mine()
	})
	return true
}

// next is what the active's next head is to say of streams, where newest is the backup
// that it names.
func (sl *streamsLane) next(h *Head, newest *backup.Ref) map[string]Stream {
	all := maps.Clone(h.Streams)
	for source, s := range all {
		if !same(newest, h.Newest) && sl.begun[source] == s.ID {
			s.Before, s.Unbased = nil, false // it holds all that came before this stream, and more
		}
		all[source] = sl.upToDate(source, s)
	}
	if !sl.unsaid() {
		return all
	}
	for source, ready := range sl.ready {
		if all[source].ID != sl.asked[source] {
			continue
		}
		if all == nil {
			all = make(map[string]Stream)
		}
		all[source] = open(h, all[source], ready)
	}
	return all
}

// upToDate is a stream with the newest tip that is known.
func (sl *streamsLane) upToDate(source string, s Stream) Stream {
	over, tip := sl.over[source], sl.tips[source]
	switch end, handed := sl.handover.ends()[source]; {
	case s.Closed:
	case handed && end.ID == s.ID:
		s.Tip, s.Closed = end.Tip, true
	case over.id == s.ID && over.forked:
		s.Before, s.Unbased = nil, true // no backup from now on leads up to it
	case over.id == s.ID:
		s.Tip, s.Closed = over.tip, true
	case tip.ID == s.ID && tip.Tip.Sequence > s.Tip.Sequence:
		s.Tip = tip.Tip
	}
	return s
}

// open is a new stream in place of the one that the head names. A backup leads up to it
// if one leads up to the stream before, and nothing lies between the two.
func open(h *Head, named Stream, ready StreamReady) Stream {
	s := Stream{ID: stream.ID{Epoch: h.Epoch, N: named.ID.N + 1}, From: ready.From, Tip: stream.Tip{To: ready.From}}
	old := after(h, ready.Source, named)
	s.Unbased = ready.Gap || !old.Closed || old.Unbased || ready.From > old.Tip.To
	if h.Logs()[ready.Source].ID != old.ID {
		return s // a backup holds all that came before
	}
	if s.Before = slices.Clone(old.Before); old.Closed && !old.Unbased {
		old.Before = nil
		s.Before = append(s.Before, old)
	}
	return s
}

// confirmed follows up on a confirmed head of this process, which was sent some time
// ago.
func (sl *streamsLane) confirmed(h *Head, ago time.Duration) {
	for source := range sl.ready {
		if s, named := h.Streams[source]; named && s.ID != sl.asked[source] {
			delete(sl.ready, source)
			delete(sl.asked, source)
			sl.report(Info, "streams", "stream %s of source %s begins at %d", s.ID, source, s.From)
		}
	}
	if len(h.Streams) > 0 && len(sl.sources) > 0 {
		lasts := h.Fencing.TTL.std() - ago
		sl.emit(ShipUntil{Until: Now{Mono: sl.now.Mono + lasts, Boot: sl.now.Boot + lasts, Wall: sl.now.Wall.Add(lasts)}})
	}
}

// backupBegins notes which streams are in force when a backup begins: whatever comes
// before them is in it.
func (sl *streamsLane) backupBegins() {
	clear(sl.begun)
	for source, s := range sl.told {
		sl.begun[source] = s.ID
	}
}

// needsBackup reports whether a backup is missing that leads up to a stream.
func (sl *streamsLane) needsBackup() bool {
	for _, s := range sl.told {
		if s.Unbased {
			return true
		}
	}
	return false
}

// named are the streams that the head names, with all that is known of them.
func (sl *streamsLane) named() map[string]Stream {
	h := sl.head.known()
	return sl.next(h, h.Newest)
}

// close closes all that the head names.
func (sl *streamsLane) close(then func(ends map[string]Stream, err error)) {
	all := sl.named()
	clear(sl.told)
	sl.closing, sl.shipping = true, true
	id := sl.work.begin("close", func(d Done) {
		sl.closing = false
		ends, err := endsOf(all, d)
		for source, s := range ends {
			sl.isOverNow(source, overStream{id: s.ID, tip: s.Tip})
		}
		then(ends, err)
	})
	sl.emit(CloseStreams{ID: id, Streams: all})
}
