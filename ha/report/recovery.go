package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/ha"
)

// SourcePoint is up to when a failover now would bring one source back.
type SourcePoint struct {
	Source string `json:"source"`
	// Stream is the one whose log brings it there; "": the backup does.
	Stream string `json:"stream,omitempty"`
	// Moment says that the log which brings it there goes no further.
	Moment bool `json:"moment,omitempty"`
	// Time says that what was written by then would be there, on the active's clock.
	Time time.Time `json:"time"`
	Age  float64   `json:"age_seconds"`
	// Lacks says why the log of a source does not count, or is not known to go on; "": it
	// does, or the source has none that is shipped.
	Lacks string `json:"lacks,omitempty"`
}

// String says it in words.
func (p SourcePoint) String() string {
	text := p.Source + ": " + ago(p.Age) + " ago"
	switch {
	case p.Moment:
		return text + " (a moment in its log: " + p.Lacks + ")"
	case p.Stream == "" && p.Lacks == "":
		return text + " (backup)"
	case p.Stream == "":
		return text + " (backup: " + p.Lacks + ")"
	case p.Lacks != "":
		return text + " (" + p.Lacks + ")"
	}
	return text
}

// ago writes an age for people: exactly where it is short.
func ago(seconds float64) string {
	if seconds < 10 {
		return fmt.Sprintf("%.1fs", seconds)
	}
	return Seconds(seconds)
}

// PointsText says in one line up to when each source would come back.
func PointsText(all []SourcePoint) string {
	words := make([]string, len(all))
	for i, p := range all {
		words[i] = p.String()
	}
	return strings.Join(words, "; ")
}

// SourcePoints says up to when a failover to the newest backup, and to the logs that lead
// on from it, would bring each of these sources back. It is by what a head says, and by what
// this instance knows. nil: no log is shipped of any, so that all are as old as the backup.
func (s *Status) SourcePoints(h *ha.Head, sources []string, now time.Time) (all []SourcePoint) {
	if h == nil || h.Newest == nil || !s.streams(h) {
		return nil
	}
	for _, source := range sources {
		p := SourcePoint{Source: source, Time: h.Newest.Time}
		at, id, lacks := s.logUpTo(h, source)
		p.Lacks = lacks
		if !id.IsZero() && at.After(p.Time) {
			p.Stream, p.Time = id.String(), at
		}
		p.Age = max(0, now.Sub(p.Time)).Seconds()
		all = append(all, p)
	}
	return all
}

// streams reports whether the log of any source is to be shipped.
func (s *Status) streams(h *ha.Head) bool { return len(h.Streams) > 0 || len(s.Streams) > 0 }

// logUpTo is up to when the log of a source is in the bucket, in a stream that a promotion
// would apply.
func (s *Status) logUpTo(h *ha.Head, source string) (at time.Time, id stream.ID, lacks string) {
	named, ok := h.Streams[source]
	own := s.stream(source)
	switch {
	case !ok && own == nil:
		return at, id, ""
	case !ok:
		return at, id, "its log is not shipped"
	case named.Unbased:
		return at, id, "no backup leads up to stream " + named.ID.String() + " yet"
	case s.Role == ha.RoleActive && (own == nil || own.Stream != named.ID.String()):
		return named.Tip.Time, named.ID, notShipped
	case s.Role == ha.RoleActive:
		return own.UpTo, named.ID, own.lacks()
	case own == nil:
		return at, id, "this host does not take its log in"
	}
	at = latest(named.Tip.Time, own.Time)
	if said, ok := s.activeSays(source); ok && said.Stream == named.ID {
		at = latest(at, said.UpTo)
	}
	return at, named.ID, own.lacks()
}

const notShipped = "its log is not known to be shipped now"

// lacks says what of a stream is not as it should be.
func (s *StreamStatus) lacks() string {
	switch {
	case s.Replica && !s.Runs:
		return "the replica here does not follow: what it lacks is applied first, or it is built anew"
	case s.Replica:
		return ""
	case !s.Runs:
		return notShipped
	case !s.Confirmed:
		return "not confirmed to it yet"
	}
	return ""
}

// pointOld is how many seconds of log may wait on the active before that is wrong.
const pointOld = 60

func latest(x, y time.Time) time.Time {
	if y.After(x) {
		return y
	}
	return x
}

// stream is what is known here of the log of a source; nil: it has none.
func (s *Status) stream(source string) *StreamStatus {
	if i := slices.IndexFunc(s.Streams, func(one StreamStatus) bool { return one.Source == source }); i >= 0 {
		return &s.Streams[i]
	}
	return nil
}

// activeSays is what the active last said of the log of a source, in its record.
func (s *Status) activeSays(source string) (ha.ShippedLog, bool) {
	for _, i := range s.Instances {
		if i.Name == s.Active && !i.Self {
			said, ok := i.Shipped[source]
			return said, ok
		}
	}
	return ha.ShippedLog{}, false
}

// lost says what a failover now would lose.
func (s *Status) lost() string {
	if len(s.Recovery) > 0 {
		return "what came after the recovery point of each source (" + PointsText(s.Recovery) + ")"
	}
	return fmt.Sprintf("what came after the newest backup (%s ago)", Seconds(s.LastBackupAge))
}

// logsGood reports whether every log that is to be shipped counts, and goes on.
func (s *Status) logsGood() bool {
	return !slices.ContainsFunc(s.Recovery, func(p SourcePoint) bool { return p.Lacks != "" })
}

// logFindings are what there is to say of logs that are shipped.
func (s *Status) logFindings(f *findings) {
	for _, p := range s.Recovery {
		own := s.stream(p.Source)
		told := own != nil && own.Error != "" // as a trouble of its own
		f.caveat(topicStream, p.Lacks != "" && !told, "a failover now would bring %s", p)
		s.keptFindings(f, own)
		f.problem(topicStream, own != nil && !own.Replica && own.Runs && own.Age > pointOld, "log of %s has been read for %s that does not come to the bucket: a failover now would lose it", p.Source, Seconds(max(0, own.age())))
	}
}

// age is Age, of a stream that may be none.
func (s *StreamStatus) age() float64 {
	if s == nil {
		return 0
	}
	return s.Age
}
