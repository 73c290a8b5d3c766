package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/ha"
)

// TestStreamsHoldUnderFaults runs the core through whatever each seed draws, where the
// application's log is shipped in streams.
func TestStreamsHoldUnderFaults(t *testing.T) { holds(t, withStreams) }

// withStreams draws what goes wrong with streams.
func withStreams(seed uint64) Options {
	o := options(seed)
	rng := rand.New(rand.NewPCG(seed, 0x73686970))
	f := &StreamFaults{Expire: rng.IntN(2) == 0}
	if rng.IntN(3) > 0 {
		f.Request = 0.3 * rng.Float64()
	}
	if rng.IntN(3) == 0 {
		f.Gap = rng.Float64()
	}
	switch rng.IntN(8) {
	case 0:
		f.Tamper = true
	case 1:
		f.Lose = true
	}
	if rng.IntN(4) == 0 {
		f.Slow = rng.Float64()
	}
	o.Streams = f
	return o
}

// brokenStreams are mutations of what holds streams together.
var brokenStreams = []mutation{
	{
		guard: "the digest by which a part names the one before", broken: "whatever has the next name is read", catches: Streams,
		wrap:    flawed(func(f *flaws) { f.unchecked = true }),
		streams: &StreamFaults{Tamper: true},
	},
	{
		guard: "the end part of a promotion to an older backup", broken: "it is told as written, and is not", catches: Streams,
		wrap:    endsNoneForAnOlderPoint,
		faults:  Faults{Rash: true},
		streams: &StreamFaults{},
	},
	{
		guard: "the answer before the confirmation", broken: "what is sent is confirmed", catches: Streams,
		wrap:    flawed(func(f *flaws) { f.early = true }),
		faults:  Faults{Trouble: Weights{Cut: 1}, Every: 20 * time.Second},
		streams: &StreamFaults{Request: 0.2},
	},
	{
		guard: "the look at what is there after a 412", broken: "it is taken for the part that was sent, and the head is not read", catches: Streams,
		wrap:    flawed(func(f *flaws) { f.assumes = true }),
		streams: &StreamFaults{Request: 0.1},
	},
	{
		guard: "the bound of a confirmation", broken: "whoever wakes up goes on confirming", catches: Streams,
		wrap:    flawed(func(f *flaws) { f.unbounded = true }),
		faults:  Faults{Trouble: Weights{Stop: 1}, Every: 20 * time.Second, Operate: 10 * time.Second},
		fencing: ha.Available,
		streams: &StreamFaults{Expire: true},
	},
	{
		guard: "the pin of the complete set of streams", broken: "reads before the commit show the streams that were ended", catches: Streams,
		wrap:    pinnedStreams,
		faults:  Faults{Request: 0.3, Trouble: Weights{Cut: 1, Crash: 1}, Every: 15 * time.Second, Operate: 10 * time.Second},
		streams: &StreamFaults{Slow: 0.9},
	},
	{
		guard: "that no stream is opened while anybody holds the lease", broken: "the lease counts that the end part cites, and no other", catches: Streams,
		wrap:    citedLease,
		faults:  Faults{Request: 0.2, Work: 0.2, Hooks: true, Trouble: Weights{Stop: 1, Cut: 1}, Every: 10 * time.Second, Operate: 10 * time.Second},
		streams: &StreamFaults{},
	},
	{
		guard: "that the handover closes the streams", broken: "they are told as closed, and are not", catches: Streams,
		wrap:    closesNone,
		streams: &StreamFaults{},
	},
	{
		guard: "that nothing is confirmed in a stream which no backup leads up to", broken: "the core says that one does", catches: Streams,
		wrap:    based,
		faults:  Faults{Trouble: Weights{Cut: 1}, Every: 30 * time.Second, Operate: 10 * time.Second},
		streams: &StreamFaults{Gap: 1},
	},
}

func init() { mutations = append(mutations, brokenStreams...) }

// flawed takes a rule away from whoever ships, ends and reads streams.
func flawed(change func(*flaws)) func(*Process, Runner) Runner {
	return func(p *Process, next Runner) Runner {
		change(&p.flaws)
		return next
	}
}

// pretended are streams as if their next part were an end part.
func pretended(all map[string]ha.Stream) map[string]ha.Stream {
	ends := map[string]ha.Stream{}
	for source, s := range all {
		s.Tip.Sequence++
		s.Tip.Digest = "made-up"
		ends[source] = s
	}
	return ends
}

func endsNoneForAnOlderPoint(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		if end, ok := e.(ha.EndStreams); ok && p.h.disk.journal.Promotion.Chosen != nil {
			answers(p, done, ha.Done{ID: end.ID, Ends: pretended(end.Streams)})
			return
		}
		next(e, done)
	}
}

func closesNone(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		switch e := e.(type) {
		case ha.CloseStreams:
			answers(p, done, ha.Done{ID: e.ID, Ends: pretended(e.Streams)})
		case ha.EndStreams:
			if p.h.disk.journal.Promotion.Mode == ha.ModeSwitchover {
				answers(p, done, ha.Done{ID: e.ID, Ends: e.Streams})
				return
			}
			next(e, done)
		default:
			next(e, done)
		}
	}
}

func pinnedStreams(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		next(e, func(d ha.Done) {
			h, ok := d.Object.(*ha.Head)
			if promotion := p.h.disk.journal.Promotion; ok && promotion != nil && h.Epoch == promotion.Epoch && (promotion.Phase == ha.PhaseRestore || promotion.Phase == ha.PhaseSwap || promotion.Phase == ha.PhaseCommit) {
				h.Streams = promotion.Streams
			}
			done(d)
		})
	}
}

// citedLease shows an active whose stream was ended each other lease as released.
func citedLease(p *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		next(e, func(d ha.Done) {
			l, ok := d.Object.(*ha.Lease)
			if s := p.ship; ok && s != nil && s.over && l.ID != p.h.w.streams.cited(s.stream.ID) {
				l.Released = true
			}
			done(d)
		})
	}
}

// cited is the lease that the end part of a stream names; "": there is none.
func (s *streams) cited(id stream.ID) string {
	for _, pt := range s.parts {
		if pt.id == id && pt.end != nil {
			return pt.end.Lease
		}
	}
	return ""
}

func based(_ *Process, next Runner) Runner {
	return func(e ha.Effect, done func(ha.Done)) {
		if s, ok := e.(ha.Ship); ok {
			s.Stream.Unbased = false
			e = s
		}
		next(e, done)
	}
}

// TestAnActiveThatHasLostWritesBeginsANewStream has an active's disk lose what it has
// shipped, while its agent goes on. An agent that crashes before it has said so, and then
// backs up before it has compared its log again, is left out: a promotion before the next
// backup would apply the log of the stream to a backup that it does not lead on from.
func TestAnActiveThatHasLostWritesBeginsANewStream(t *testing.T) {
	var log strings.Builder
	for s := range uint64(50) {
		o := options(s + 1)
		o.Faults, o.Streams = Quiet(), &StreamFaults{Request: 0.1, Rewind: true}
		o.Trace = func(format string, args ...any) { fmt.Fprintf(&log, format+"\n", args...) }
		if err := New(o).Run(); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(log.String(), "holds another log than this host has") {
		t.Error("no active has noticed")
	}
}

// TestStreamsAreInTheRuns checks that the runs go where it matters.
func TestStreamsAreInTheRuns(t *testing.T) {
	wanted := []string{
		"was ended by promotion", "was ended by this instance", "unbased true", "before it 1", "before it 2",
		"for a stream that no backup leads up to", "streams is done: db up to", "has opened another stream", "its streams could not be closed",
		"ending the streams failed", "the stream ends before the part that the head names", "its streams to be closed",
	}
	var log strings.Builder
	for s := range uint64(everyRuns) {
		o := withStreams(s + 1)
		o.Trace = func(format string, args ...any) { fmt.Fprintf(&log, format+"\n", args...) }
		if err := New(o).Run(); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range wanted {
		n := strings.Count(log.String(), want)
		if n == 0 {
			t.Errorf("in no run: %q", want)
		}
		t.Logf("%5d %s", n, want)
	}
}
