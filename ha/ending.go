package ha

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Every promotion ends every stream that the head names, one to an older backup too:
// from then on the old active cannot append to any, whatever it knows, and confirms
// nothing more to its sources. What was in a stream before its end part is in the new
// epoch, unless an older backup was chosen. The complete set of streams is pinned: a
// stream that the old active has opened since is one that nobody has ended.

// sameStreams reports whether two sets are of the same streams.
func sameStreams(a, b map[string]Stream) bool {
	return maps.EqualFunc(a, b, func(x, y Stream) bool { return x.ID == y.ID })
}

// endsOf are streams with the end parts that an effect has written, or met.
func endsOf(all map[string]Stream, d Done) (map[string]Stream, error) {
	if d.Outcome != OK {
		return nil, errors.New(errText(d.Err))
	}
	if !sameStreams(all, d.Ends) {
		return nil, errors.New("not all of them were ended")
	}
	ends := maps.Clone(all)
	for source, s := range ends {
		s.Tip, s.Closed = d.Ends[source].Tip, true
		ends[source] = s
	}
	return ends, nil
}

// endStreams goes on to end what a head names, if it names any, and to restore.
func (pl *promotionLane) endStreams(h *Head) {
	p := pl.j.Promotion
	p.Streams, p.Ends = h.Logs(), nil
	if len(p.Streams) == 0 {
		pl.restoreFrom(h)
		return
	}
	p.Newest, p.Phase = h.Newest, PhaseEnd
	pl.save(p.Phase.step())
}

// planEnd ends the streams, with the newest tips that are known.
func (pl *promotionLane) planEnd() {
	p, h := pl.j.Promotion, pl.head.known()
	if h.Epoch == p.Epoch && !pl.streamsChanged(h) {
		p.Streams = h.Logs()
	}
	pl.emit(EndStreams{ID: pl.work.begin("end", pl.ended), Streams: p.Streams, Lost: p.WithoutLog, Lease: p.ID, Head: h.Nonce})
}

// ended goes on with the ends. Streams that the head names by now, and did not then,
// are ended first.
func (pl *promotionLane) ended(d Done) {
	p, h := pl.j.Promotion, pl.head.known()
	if p == nil || p.Phase != PhaseEnd {
		return
	}
	ends, err := endsOf(p.Streams, d)
	switch {
	case err != nil:
		pl.abort("ending the streams failed: %v", err)
	case pl.streamsChanged(h):
		pl.endStreams(h)
	case !p.WithoutLog && beyond(p.Streams, ends) != "":
		pl.abort("%s", beyond(p.Streams, ends))
	default:
		p.Ends = ends
		var upTo []string
		for _, source := range slices.Sorted(maps.Keys(ends)) {
			upTo = append(upTo, fmt.Sprintf("%s up to %d", source, ends[source].Tip.To))
		}
		pl.step("streams", strings.Join(upTo, ", "))
		pl.restoreFrom(h)
	}
}

// streamsChanged reports whether a head names other streams than those that were ended.
func (pl *promotionLane) streamsChanged(h *Head) bool {
	p := pl.j.Promotion
	return h.Epoch == p.Epoch && !sameStreams(h.Logs(), p.Streams)
}

// beyond says which stream has a part that a head names, and that its end does not
// come after; "": none has. Of a stream that its active has closed the end is as it says.
func beyond(named, ends map[string]Stream) string {
	for _, source := range slices.Sorted(maps.Keys(named)) {
		s, end := named[source], ends[source]
		if s.Tip.Sequence < end.Tip.Sequence && !s.Closed || s.Tip.Sequence == end.Tip.Sequence && s.Tip.Digest == end.Tip.Digest {
			continue
		}
		return fmt.Sprintf("stream %s of source %s was ended with part %d, and the head names part %d: somebody has deleted or replaced parts of it; promote without the log", s.ID, source, end.Tip.Sequence, s.Tip.Sequence)
	}
	return ""
}

// ledUpTo are ends with what leads up to them from the newest backup of a head.
func ledUpTo(h *Head, ends map[string]Stream) map[string]Stream {
	ends = maps.Clone(ends)
	for source, s := range ends {
		if now := h.Logs()[source]; now.ID == s.ID {
			s.Before, s.Unbased = now.Before, now.Unbased
			ends[source] = s
		}
	}
	return ends
}

// applied are the streams whose log is applied to the backup that is restored, up to
// their ends: all, unless it is an older backup, or a moment.
func (p *Promotion) applied() map[string]Stream {
	if p.WithoutLog || p.Moment != nil || !same(p.Backup, p.Newest) {
		return nil
	}
	return p.Ends
}

// closed are the streams as the head of the next epoch names them. After a moment it names
// none: nothing is to be applied of them to the backup, which may be the newest, and what the
// old active has written since is not in the new epoch.
func (p *Promotion) closed() map[string]Stream {
	if p.Moment != nil {
		return nil
	}
	if !p.WithoutLog {
		return p.Ends
	}
	ends := maps.Clone(p.Ends)
	for source, s := range ends {
		s.Before, s.Unbased = nil, true // nothing goes on from what was given up
		ends[source] = s
	}
	return ends
}
