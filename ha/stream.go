package ha

import (
	"maps"
	"slices"

	"github.com/understudy-ha/understudy/backup/stream"
)

// Stream is a stream of a source, as the head names it.
type Stream struct {
	ID   stream.ID       `json:"id"`
	From stream.Position `json:"from"` // where it begins
	// Tip is the newest part of which the active knew, when it wrote this, that it is in
	// the bucket. Closed says that this is an end part: so it is in a head that is handed
	// over.
	Tip    stream.Tip `json:"tip,omitzero"`
	Closed bool       `json:"closed,omitempty"`
	// Before are the closed streams whose log comes after the newest backup and before
	// this stream, the oldest first. Log of one from where the next begins on is not part
	// of the source's.
	Before []Stream `json:"before,omitempty"`
	// Unbased says that there is a gap before this stream: neither the newest backup nor
	// Before is known to lead up to it. A promotion applies Before, and nothing of it; and
	// nothing of it is confirmed to its source, until the head names a backup that began
	// after it was opened.
	Unbased bool `json:"unbased,omitempty"`
}

// Led are the streams that the newest backup leads up to, the oldest first: what a promotion
// to it applies. Of each but the last only what lies before the next one's beginning counts.
func (s Stream) Led() []Stream {
	last := s
	if last.Before = nil; s.Unbased {
		return s.Before
	}
	return append(slices.Clone(s.Before), last)
}

// Covered is, by source, up to where a promotion that applies streams up to their ends has the
// logs. A source is missing of which it applies none.
func Covered(ends map[string]Stream) map[string]stream.Position {
	all := make(map[string]stream.Position)
	for source, s := range ends {
		if led := s.Led(); len(led) > 0 {
			all[source] = led[len(led)-1].Tip.To
		}
	}
	return all
}

// Logs are the streams whose log comes after the newest backup, by source: those in
// force and, of a source that has none yet in an epoch without a backup of its own, the
// one that the epoch began with.
func (h *Head) Logs() map[string]Stream {
	if h.CutOff != nil || len(h.Ended) == 0 || !same(h.Newest, h.StartedFrom) {
		return h.Streams
	}
	all := maps.Clone(h.Ended)
	maps.Copy(all, h.Streams)
	return all
}

// UseStreams tells the machine which sources' logs are shipped from now on.
type UseStreams struct{ Sources []string }

// StreamReady answers PrepareStream: a stream of the source can begin there. Up to there
// the source's log is that of the stream before, as far as that goes; Gap says that it
// is not, or that this is not known.
type StreamReady struct {
	Source string
	From   stream.Position
	Gap    bool
}

// Shipped says that a part is known to be in the bucket. The next heartbeat names it.
type Shipped struct {
	Source string
	ID     stream.ID
	Tip    stream.Tip
}

// StreamClosed says that the stream has an end part, whoever wrote it. Nothing more of
// it is shipped.
type StreamClosed struct {
	Source string
	ID     stream.ID
	Tip    stream.Tip // the end part
	End    stream.End
}

// StreamForked says that another log than this host's lies in the stream. Nothing more
// of it is shipped.
type StreamForked struct {
	Source      string
	ID          stream.ID
	Tip         stream.Tip // the part that is there
	Incarnation string     // of who wrote it
}

// PrepareStream has a source get ready for a new stream, which StreamReady says. After is
// the stream that it is to go on from; the zero Stream: none is known. Where After is
// Closed the new one begins where that ends, or before, if the source still has its log
// from there. It may come again.
type PrepareStream struct {
	Source string
	After  Stream
}

// Ship has the log of a source shipped in this stream, which a confirmed head names: on
// from its tip, over whatever processes before this one have shipped since. Shipped
// tells of each part, StreamClosed or StreamForked of the end. It may come again, with a
// stream that is based by now.
type Ship struct {
	Source string
	Stream Stream
}

// ShipUntil says until when what is in the bucket may be confirmed to the sources: as
// soon as either clock shows more, no longer. It comes with each confirmed heartbeat. An
// idle shipper looks for an end part then.
type ShipUntil struct{ Until Now }

// StopShipping ends all shipping, and CloseStreams that is under way. Nothing more is
// confirmed. It waits for no journal.
type StopShipping struct{}

// CloseStreams ships what is left of these streams, of an application that has stopped,
// and writes their end parts; it stops what of the sources runs by itself. One that is
// ended already stays as it is. Nothing else is shipped meanwhile, nor after it before
// another Ship. Done carries OK with Ends, or Failed.
type CloseStreams struct {
	ID      uint64
	Streams map[string]Stream // by source
}

// EndStreams writes the end parts of these streams for a promotion, behind whatever was
// shipped. One that is ended already stays as it is. A stream that ends before its tip
// is none that was whole: that fails. Done carries OK with Ends, or Failed.
type EndStreams struct {
	ID      uint64
	Streams map[string]Stream // by source
	// Lost says that a stream which ends before its tip is ended where it does.
	Lost  bool
	Lease string // the promotion's
	Head  string // nonce of the head that it was last seen to be based on
}

func (UseStreams) event()   {}
func (StreamReady) event()  {}
func (Shipped) event()      {}
func (StreamClosed) event() {}
func (StreamForked) event() {}

func (PrepareStream) effect() {}
func (Ship) effect()          {}
func (ShipUntil) effect()     {}
func (StopShipping) effect()  {}
func (CloseStreams) effect()  {}
func (EndStreams) effect()    {}
