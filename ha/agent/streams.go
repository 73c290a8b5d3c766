package agent

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/following"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/shared"
	"github.com/understudy-ha/understudy/ha/shipping"
	"github.com/understudy-ha/understudy/ha/watch"
)

// streams are those of this cluster in the bucket, with the data keys of the shared
// configuration that is in force: a shipping.Chain, a following.Chain and a
// moments.Streams.
type streams struct {
	cfg     stream.Config
	configs *shared.Configs
	lock    func() blobstore.LockMode // how parts are locked, as far as it is known

	mu     sync.Mutex
	digest string
	locked blobstore.LockMode
	chain  *stream.Chain
}

// open returns the chain under the keys in force.
func (s *streams) open() (*stream.Chain, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	digest, c := s.configs.Current()
	locked := s.lock()
	if s.chain != nil && digest == s.digest && locked == s.locked {
		return s.chain, nil
	}
	cfg := s.cfg
	if c != nil {
		var keys seal.DataKeys
		keys, err := cfg.Ring.Unwrap(c.DataKey, cfg.Cluster)
		if err != nil {
			return nil, err
		}
		cfg.Keys = &keys
	}
	cfg.Lock = locked
	chain, err := stream.Open(cfg)
	if err != nil {
		return nil, err
	}
	s.digest, s.locked, s.chain = digest, locked, chain
	return chain, nil
}

// Append implements shipping.Chain.
func (s *streams) Append(ctx context.Context, after stream.Tip, p stream.Part) (stream.Tip, error) {
	chain, err := s.open()
	if err != nil {
		return stream.Tip{}, err
	}
	return chain.Append(ctx, after, p)
}

// Read implements shipping.Chain.
func (s *streams) Read(ctx context.Context, source string, id stream.ID, after stream.Tip) (stream.Part, stream.Tip, error) {
	chain, err := s.open()
	if err != nil {
		return stream.Part{}, stream.Tip{}, err
	}
	return chain.Read(ctx, source, id, after)
}

// ReadKnown implements following.Chain.
func (s *streams) ReadKnown(ctx context.Context, source string, id stream.ID, after, known stream.Tip) (stream.Part, stream.Tip, error) {
	chain, err := s.open()
	if err != nil {
		return stream.Part{}, stream.Tip{}, err
	}
	return chain.ReadKnown(ctx, source, id, after, known)
}

// Find implements following.Chain.
func (s *streams) Find(ctx context.Context, source string, id stream.ID, at stream.Position, upTo stream.Tip) (stream.Tip, error) {
	chain, err := s.open()
	if err != nil {
		return stream.Tip{}, err
	}
	return chain.Find(ctx, source, id, at, upTo)
}

// Close implements following.Chain.
func (s *streams) Close(ctx context.Context, after stream.Tip, p stream.Part) (stream.Part, stream.Tip, error) {
	chain, err := s.open()
	if err != nil {
		return stream.Part{}, stream.Tip{}, err
	}
	return chain.Close(ctx, after, p)
}

// CloseLost implements following.Chain.
func (s *streams) CloseLost(ctx context.Context, after stream.Tip, p stream.Part) (stream.Part, stream.Tip, error) {
	chain, err := s.open()
	if err != nil {
		return stream.Part{}, stream.Tip{}, err
	}
	return chain.CloseLost(ctx, after, p)
}

// Streams implements moments.Streams.
func (s *streams) Streams(ctx context.Context, source string) ([]stream.ID, error) {
	chain, err := s.open()
	if err != nil {
		return nil, err
	}
	return chain.Streams(ctx, source)
}

// RunFrom implements moments.Streams.
func (s *streams) RunFrom(ctx context.Context, source string, id stream.ID, at, limit stream.Position) (stream.Run, error) {
	chain, err := s.open()
	if err != nil {
		return stream.Run{}, err
	}
	return chain.RunFrom(ctx, source, id, at, limit)
}

// openStreams makes the parts that ship the logs of the sources, and that follow them.
func openStreams(ctx context.Context, a *Agent) {
	a.streams = &streams{
		cfg: stream.Config{
			Store: a.cfg.Store, Ring: a.cfg.Ring, Cluster: a.control.Cluster(), Random: a.cfg.Random, Now: a.control.Time,
			Recovered: tellRecovered(a),
		},
		configs: a.configs,
		lock:    a.locks.Mode,
	}
	a.shipping = shipping.New(ctx, shipping.Config{
		Chain: a.streams, Sources: a.reloading.sources, Incarnation: a.self.Incarnation, Every: shipping.Every,
		Clock: a.cfg.Clock, Post: a.inbox.Post, Log: a.tell,
		MayLift: func() bool { return a.state.View().GoesOn },
		Unheard: func() bool {
			s := a.state.View()
			return !s.Leading && s.Bucket != "ok"
		},
	})
	a.following = following.New(following.Config{
		Chain: a.streams, Sources: a.reloading.sources, View: a.state.View, Clock: a.cfg.Clock, Log: a.tell,
		Every: shipping.Every,
		Ask:   func() time.Duration { return cmp.Or(a.live().ApplyEvery, shipping.Every) },
		Drop:  func(ctx context.Context) error { return a.stage.Drop(ctx) },
	})
}

// useStreams tells the machine which sources' logs can be shipped.
func (a *Agent) useStreams() { a.inbox.Post(ha.UseStreams{Sources: a.shipping.Sources()}) }

// follow has the stages take in what has come of the streams, and notes how far that is.
func (a *Agent) follow(ctx context.Context) time.Duration {
	next := a.following.Turn(ctx, a.cfg.Poll)
	now := a.cfg.Clock.Now()
	a.ages.note(now, a.streamStatus(a.state.View(), now.Wall))
	return next
}

// closeStreams closes the streams of an active that hands over.
func (a *Agent) closeStreams(ctx context.Context, e ha.CloseStreams) ha.Done {
	ends, err := a.shipping.Close(ctx, e.Streams, stream.End{By: a.self.Incarnation})
	d := failed(err)
	d.Ends = ends
	return d
}

// endStreams ends the streams of an active that is replaced.
func (a *Agent) endStreams(ctx context.Context, e ha.EndStreams) ha.Done {
	ends, err := a.following.End(ctx, e.Streams, e.Lost, a.self.Incarnation, stream.End{Lease: e.Lease, Head: e.Head, By: a.self.Incarnation})
	d := failed(err)
	d.Ends = ends
	return d
}

// salvage stops the servers of the sources, for nobody is to write there any more, and
// keeps what the successor does not have.
func (a *Agent) salvage(ctx context.Context, e ha.MakeSalvage) ha.Done {
	if err := a.app.StopServers(ctx); err != nil {
		return failed(err)
	}
	return made(a.maker.Salvage(ctx, e))
}

// rejoin has a former active follow as it is. What its successor has shipped by now is taken in
// at once: a backup of the successor brings only a stage forward that goes on in its log.
func (a *Agent) rejoin(ctx context.Context, e ha.Rejoin) ha.Done {
	note, err := a.stage.Rejoin(ctx, e.Ref, ha.Covered(e.Ends))
	if note != "" {
		a.following.Turn(ctx, a.cfg.Poll)
	}
	return noted(note, err)
}

// streamStatus is how far the logs of the sources have come: on the active in the bucket, on a
// standby in its replicas.
func (a *Agent) streamStatus(core ha.Status, now time.Time) (all []report.StreamStatus) {
	switch {
	case core.Role == ha.RoleActive && core.Leading && core.Refused == "":
		for _, s := range a.shipping.Shown() {
			of := shippedStatus(s, now)
			if kept, ok := a.logs.Read(s.Source); ok {
				of.Kept = keptLog(kept)
			}
			all = append(all, of)
		}
	case core.Role == ha.RoleStandby:
		for _, s := range a.following.Shown() {
			all = append(all, replicaStatus(s, core.Head))
		}
	}
	slices.SortFunc(all, func(x, y report.StreamStatus) int { return strings.Compare(x.Source, y.Source) })
	return all
}

func shippedStatus(s shipping.Shown, now time.Time) report.StreamStatus {
	of := report.StreamStatus{
		Source: s.Source, Part: s.Tip.Sequence, To: s.Tip.To, Time: s.Tip.Time, UpTo: s.UpTo, Age: -1,
		Runs: s.Ships, Based: s.Based, Confirmed: s.Confirmed, Behind: -1, Lag: -1, Error: s.Error,
	}
	if !s.Stream.IsZero() {
		of.Stream = s.Stream.String()
	}
	if !s.UpTo.IsZero() {
		of.Age = max(0, now.Sub(s.UpTo)).Seconds()
	}
	return of
}

func keptLog(k watch.LogKept) *report.KeptLog {
	return &report.KeptLog{
		Time: k.At, Bytes: k.Bytes, Room: k.Room, Lost: k.Lost, Synced: k.Synced, Waits: k.Waits, Unsynced: k.Unsynced.Seconds(),
		BaseDue: k.BaseDue, Unpacked: k.Unpacked, Error: k.Error,
	}
}

func replicaStatus(s following.Shown, h *ha.Head) report.StreamStatus {
	of := report.StreamStatus{
		Source: s.Source, Replica: true, Part: s.Tip.Sequence, To: s.Tip.To, Time: s.Tip.Time, UpTo: s.Shows, Age: -1,
		Runs: !s.Stream.IsZero(), Behind: s.Behind, Lag: -1, Paused: s.Paused, Pauses: s.Pauses, Error: s.Error,
	}
	if h != nil {
		if named, ok := h.Streams[s.Source]; ok {
			of.Stream, of.Based = named.ID.String(), !named.Unbased
		}
	}
	if !s.Shows.IsZero() {
		of.Lag = s.Lag.Seconds()
	}
	return of
}

// shippedLogs are up to when the logs of an active's sources are in the bucket.
func shippedLogs(by *shipping.Shipping) map[string]ha.ShippedLog {
	all := make(map[string]ha.ShippedLog)
	for _, s := range by.Shown() {
		if !s.Stream.IsZero() && !s.UpTo.IsZero() {
			all[s.Source] = ha.ShippedLog{Stream: s.Stream, UpTo: s.UpTo}
		}
	}
	return all
}

// shippedCounts are what this process has shipped, by source.
func shippedCounts(by *shipping.Shipping) map[string]report.Shipped {
	all := make(map[string]report.Shipped)
	for source, c := range by.Counts() {
		all[source] = report.Shipped{Parts: c.Parts, Bytes: c.Bytes, Gaps: c.Gaps}
	}
	return all
}
