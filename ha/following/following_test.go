package following_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/seal/sealtest"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/following"
)

// replica is a stage whose log is bytes: a position is how many there are. A begin is the
// position at which a timeline left the one before, and its letter.
type replica struct {
	source.Source

	staged   bool
	log      string
	timeline string
	caught   stream.Position
	fed      int
	paused   bool
	hangs    error // of the look how far it is
	err      error
	full     bool // it takes nothing
}

type begin struct {
	Timeline string
	Left     int
}

func (r *replica) Name() string { return "db" }

func (r *replica) Followed(_ context.Context, b json.RawMessage) (stream.Position, bool, error) {
	at := stream.Position(len(r.log))
	if b == nil {
		return at, r.staged, nil
	}
	var of begin
	if err := json.Unmarshal(b, &of); err != nil {
		return 0, false, err
	}
	if of.Timeline != r.timeline {
		at = min(at, stream.Position(of.Left))
	}
	return at, r.staged && !strings.Contains(r.log, "!"), nil
}

func (r *replica) Feed(_ context.Context, b json.RawMessage, from stream.Position, log []byte) error {
	var of begin
	if err := json.Unmarshal(b, &of); err != nil {
		return err
	}
	if int(from) > len(r.log) {
		return errors.New("a gap")
	}
	r.timeline, r.fed = of.Timeline, r.fed+1
	if r.full {
		return r.err
	}
	if end := int(from) + len(log); end > len(r.log) || r.log[from:end] != string(log) {
		r.log = r.log[:from] + string(log)
	}
	return r.err
}

func (r *replica) CatchUp(_ context.Context, to stream.Position) error {
	r.caught = to
	return nil
}

func (r *replica) Applied(context.Context) (source.Applied, error) {
	return source.Applied{To: stream.Position(max(0, len(r.log)-1)), Paused: r.paused}, r.hangs
}

// world is a standby, with a bucket.
type world struct {
	t         *testing.T
	memory    *storetest.Memory
	chain     *stream.Chain
	replica   *replica
	following *following.Following
	status    ha.Status
	now       time.Duration
	trouble   string
	every     time.Duration
	dropped   int
	grows     func() // before a part is read; may be nil
}

// growing is a chain to which parts are added.
type growing struct {
	*stream.Chain
	w *world
}

func (g growing) ReadKnown(ctx context.Context, source string, id stream.ID, after, known stream.Tip) (stream.Part, stream.Tip, error) {
	if g.w.grows != nil {
		g.w.grows()
	}
	return g.Chain.ReadKnown(ctx, source, id, after, known)
}

func (w *world) Note(context.Context, event.Level, string, string, map[string]any) {}
func (w *world) Now() ha.Now                                                       { return ha.Now{Mono: w.now} }
func (w *world) Boot() string                                                      { return "" }

func (w *world) Changed()                                            {}
func (w *world) Trouble(_ context.Context, _, _, text string)        { w.trouble = text }
func (w *world) TroubleOver(context.Context, string, string, string) { w.trouble = "" }

func newWorld(t *testing.T) *world {
	random := rand.NewChaCha8([32]byte{1})
	w := &world{t: t, now: time.Hour, every: time.Second, memory: storetest.NewMemory(), replica: &replica{staged: true, timeline: "a"}}
	keys, err := seal.NewDataKeys(random)
	if err != nil {
		t.Fatal(err)
	}
	w.chain, err = stream.Open(stream.Config{Store: w.memory, Ring: sealtest.NewRing(t, random), Cluster: "c", Keys: &keys, Random: random, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.following = following.New(following.Config{
		Chain: growing{w.chain, w}, Sources: func() []source.Source { return []source.Source{w.replica} }, View: func() ha.Status { return w.status },
		Every: time.Second, Ask: func() time.Duration { return w.every }, Clock: w, Log: w, Drop: func(context.Context) error {
			w.dropped, w.replica.log, w.replica.staged = w.dropped+1, "", false
			return nil
		},
	})
	w.status = ha.Status{Role: ha.RoleStandby, Head: &ha.Head{Streams: map[string]ha.Stream{}}}
	return w
}

// ship makes a stream of parts, and names it in the head with what lies before it.
func (w *world) ship(epoch uint64, b begin, from int, end bool, parts ...string) ha.Stream {
	w.t.Helper()
	text, err := json.Marshal(b)
	if err != nil {
		w.t.Fatal(err)
	}
	s := ha.Stream{ID: stream.ID{Epoch: epoch, N: 1}, From: stream.Position(from)}
	tip := stream.Tip{To: s.From}
	for _, log := range parts {
		p := stream.Part{Source: "db", Stream: s.ID, Incarnation: "x", To: tip.To + stream.Position(len(log)), Time: time.Now(), Begin: text, Log: []byte(log)}
		if tip, err = w.chain.Append(w.t.Context(), tip, p); err != nil {
			w.t.Fatal(err)
		}
	}
	if end {
		p := stream.Part{Source: "db", Stream: s.ID, Incarnation: "x", To: tip.To, Time: time.Now(), Begin: text, End: &stream.End{By: "x"}}
		if tip, err = w.chain.Append(w.t.Context(), tip, p); err != nil {
			w.t.Fatal(err)
		}
	}
	s.Tip, s.Closed = tip, end
	return s
}

func (w *world) names(s ha.Stream, before ...ha.Stream) {
	s.Before = before
	w.status.Head.Streams["db"] = s
}

func (w *world) turn() time.Duration { return w.following.Turn(w.t.Context(), time.Minute) }

// shown is what people see of the replica.
func (w *world) shown() following.Shown {
	w.t.Helper()
	all := w.following.Shown()
	if len(all) != 1 {
		w.t.Fatalf("shown: %+v", all)
	}
	return all[0]
}

func (w *world) want(log string) {
	w.t.Helper()
	if w.replica.log != log {
		w.t.Errorf("the replica has %q, want %q; %s", w.replica.log, log, w.trouble)
	}
}

// A replica takes in what comes, part by part, from where its backup ends.
func TestAReplicaGoesOnFromItsBackup(t *testing.T) {
	w := newWorld(t)
	w.replica.log = "01234"
	s := w.ship(1, begin{"a", 0}, 2, false, "234", "567", "8")
	s.Tip = stream.Tip{} // of a head that is older than the parts
	w.names(s)
	if next := w.turn(); next != time.Second {
		t.Errorf("looks again in %v", next)
	}
	w.want("012345678")
	if fed := w.replica.fed; fed > 3 {
		t.Errorf("fed %d parts", fed)
	}
	if s := w.shown(); s.Stream != (stream.ID{Epoch: 1, N: 1}) || s.Tip.Sequence != 3 || s.Behind != 1 || s.Shows.IsZero() || s.Shows.After(s.Tip.Time) || s.Error != "" {
		t.Errorf("shown %+v", s)
	}
	fed := w.replica.fed
	if w.turn(); w.replica.fed != fed {
		t.Error("what it has was fed again")
	}
}

// A standby that is told to asks less often, and takes in all that has come by then.
func TestAReplicaAsksAsOftenAsItIsTold(t *testing.T) {
	w := newWorld(t)
	w.every = 10 * time.Second
	w.names(w.ship(1, begin{"a", 0}, 0, false, "012", "345"))
	if next := w.turn(); next != 10*time.Second {
		t.Errorf("looks again in %v", next)
	}
	w.want("012345")
	w.now += w.every
	w.names(w.ship(1, begin{"a", 0}, 0, false, "012", "345", "67"))
	w.turn()
	w.want("01234567")
}

// Parts that come as fast as they are taken in do not keep the replica's state from being seen.
func TestAStreamThatNeverEndsIsSeen(t *testing.T) {
	w := newWorld(t)
	s := w.ship(1, begin{"a", 0}, 0, false, "0")
	w.names(s)
	w.grows = func() {
		w.now += 30 * time.Millisecond
		if s.Tip.Sequence > 1000 {
			t.Fatal("it is not seen what was taken in")
		}
		var err error
		s.Tip, err = w.chain.Append(t.Context(), s.Tip, stream.Part{Source: "db", Stream: s.ID, Incarnation: "x", To: s.Tip.To + 1, Time: time.Now(), Begin: []byte(`{"Timeline":"a","Left":0}`), Log: []byte{'1'}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if next := w.turn(); next != 0 {
		t.Errorf("looks again in %v, and more is there", next)
	}
	if s := w.shown(); s.Stream.IsZero() || s.Shows.IsZero() || s.Tip.Sequence < 3 {
		t.Errorf("shown %+v", s)
	}
}

// Small parts that are there are taken in together: the replica's disk is waited for each time.
func TestSmallPartsAreTakenInTogether(t *testing.T) {
	w := newWorld(t)
	w.names(w.ship(1, begin{"a", 0}, 0, false, strings.Split(strings.Repeat("x", 200), "")...))
	w.turn()
	w.want(strings.Repeat("x", 200))
	if w.replica.fed > 4 {
		t.Errorf("fed %d times", w.replica.fed)
	}
}

// Nothing is taken in while there is nothing staged, of a stream that begins later, of one
// without a base, on an active, and during a promotion.
func TestNothingIsTakenInThatDoesNotGoOn(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"nothing staged": func(w *world) { w.replica.staged = false },
		"a gap":          func(w *world) { w.replica.log = "0" },
		"no base": func(w *world) {
			s := w.status.Head.Streams["db"]
			s.Unbased = true
			w.names(s)
		},
		"an active":   func(w *world) { w.status.Role = ha.RoleActive },
		"a promotion": func(w *world) { w.status.Promotion = &ha.Promotion{} },
		"no head":     func(w *world) { w.status.Head = nil },
		"no stream":   func(w *world) { clear(w.status.Head.Streams) },
	} {
		w := newWorld(t)
		w.replica.log = "01"
		w.names(w.ship(1, begin{"a", 0}, 2, false, "234"))
		change(w)
		before := w.replica.log
		if w.turn(); w.replica.log != before || w.trouble != "" {
			t.Errorf("%s: the replica has %q; %s", name, w.replica.log, w.trouble)
		}
	}
}

// A bystander follows a promotion: to the end of the stream before, and on in the next one
// from where its timeline left the one before.
func TestABystanderFollowsAPromotion(t *testing.T) {
	w := newWorld(t)
	old := w.ship(1, begin{"a", 0}, 0, true, "012", "34")
	w.names(w.ship(2, begin{"b", 4}, 4, false, "XYZ"), old)
	w.turn()
	w.want("0123XYZ")
	if w.replica.timeline != "b" {
		t.Errorf("timeline %s", w.replica.timeline)
	}
}

// A replica that has applied what is not part of its source's log is built anew.
func TestAReplicaThatDivergedIsBuiltAnew(t *testing.T) {
	w := newWorld(t)
	w.replica.log = "01!!"
	w.names(w.ship(1, begin{"b", 2}, 2, false, "234", "56"))
	if w.turn(); w.dropped != 1 || w.trouble == "" {
		t.Errorf("dropped %d times; %s", w.dropped, w.trouble)
	}
	if w.turn(); w.trouble == "" {
		t.Error("it was said to follow again with nothing staged")
	}
	w.replica.staged, w.replica.log = true, "01"
	if w.turn(); w.trouble != "" {
		t.Error(w.trouble)
	}
	w.want("0123456")
}

// A promotion takes in all up to the end, and says when it cannot.
func TestAPromotionTakesInAllUpToTheEnd(t *testing.T) {
	w := newWorld(t)
	s := w.ship(1, begin{"a", 0}, 0, false, "012", "34")
	w.names(s)
	ends, err := w.following.End(t.Context(), w.status.Head.Streams, false, "p", stream.End{Lease: "l"})
	end := ends["db"]
	if err != nil || !end.Closed || end.Tip.To != 5 || end.Tip.Sequence != 3 {
		t.Fatal(ends, err)
	}
	again, err := w.following.End(t.Context(), w.status.Head.Streams, false, "q", stream.End{Lease: "m"})
	if err != nil || again["db"].Tip != end.Tip {
		t.Errorf("a second promoter: %+v, %v", again, err)
	}
	w.following.TakeIn(t.Context(), ends)
	if w.replica.caught != 0 {
		t.Errorf("it is closed for the swap at %d, before the backup is there", w.replica.caught)
	}
	w.want("01234")
	note, err := w.following.CatchUp(t.Context(), ends)
	if err != nil || w.replica.caught != 5 || !strings.HasPrefix(note, "db up to ") {
		t.Errorf("%q, %v; caught up to %d", note, err, w.replica.caught)
	}
	w.want("01234")

	// A backup that reaches further is taken as it is.
	w.replica.log = "01234567"
	if _, err := w.following.CatchUp(t.Context(), ends); err != nil || w.replica.caught != 8 {
		t.Errorf("a newer backup: %v; caught up to %d", err, w.replica.caught)
	}
	w.replica.log, w.replica.staged = "", false
	if _, err := w.following.CatchUp(t.Context(), ends); err == nil {
		t.Error("nothing staged, and no error")
	}
}

// A part that is gone is not passed over, nor taken for one that is yet to come.
func TestAPartThatIsGoneIsNotPassedOver(t *testing.T) {
	w := newWorld(t)
	w.names(w.ship(1, begin{"a", 0}, 0, true, "012", "34", "56"))
	if err := w.memory.Delete(t.Context(), stream.Key("db", stream.ID{Epoch: 1, N: 1}, 2)); err != nil {
		t.Fatal(err)
	}
	w.following.TakeIn(t.Context(), w.status.Head.Streams) // leaves it to CatchUp
	w.want("012")
	if note, err := w.following.CatchUp(t.Context(), w.status.Head.Streams); err == nil {
		t.Errorf("caught up: %s", note)
	}
	w.want("012")
	w.turn()
	w.want("012")
	if s := w.shown(); s.Error == "" || !s.Stream.IsZero() || !strings.Contains(w.trouble, "000000000002") {
		t.Errorf("trouble %q; shown %+v", w.trouble, s)
	}
}

// A backup takes a replica over a part that is gone, and one that has other log is built anew.
func TestABackupLeadsPastAPart(t *testing.T) {
	w := newWorld(t)
	s := w.ship(1, begin{"a", 0}, 0, false, "012", "34", "56", "78", "9")
	w.names(s)
	if err := w.memory.Delete(t.Context(), stream.Key("db", s.ID, 2)); err != nil {
		t.Fatal(err)
	}
	w.turn()
	w.want("012")
	w.replica.log = "012345" // by the log in a backup
	w.turn()
	w.want("0123456789")
	if s := w.shown(); s.Error != "" || s.Stream.IsZero() {
		t.Errorf("shown %+v", s)
	}
	w.replica.err = source.ErrDiverged
	w.names(w.ship(2, begin{"a", 0}, 6, false, "x789", "a"))
	if w.turn(); w.dropped != 1 || w.trouble == "" {
		t.Errorf("dropped %d times; trouble %q", w.dropped, w.trouble)
	}
}

// A replica that does not follow is seen: it is in no stream, and behind what the head names.
func TestAReplicaThatDoesNotFollowIsSeen(t *testing.T) {
	w := newWorld(t)
	if s := w.shown(); !s.Stream.IsZero() || s.Behind >= 0 || !s.Shows.IsZero() {
		t.Errorf("before a look: %+v", s)
	}
	w.replica.log = "01234"
	s := w.ship(1, begin{"a", 0}, 2, false, "234", "567")
	w.names(s)
	w.replica.err, w.replica.full = errors.New("no room"), true
	w.turn()
	if s := w.shown(); s.Error == "" || !s.Stream.IsZero() || s.Behind != 4 { // the replica shows all but the last of what it has
		t.Errorf("it cannot take anything in: %+v", s)
	}
	w.replica.err, w.replica.full = nil, false
	w.turn()
	if s := w.shown(); s.Error != "" || s.Stream.IsZero() || s.Behind != 1 {
		t.Errorf("it follows again: %+v", s)
	}
	s.Unbased = true
	w.names(s)
	w.turn()
	if s := w.shown(); !s.Stream.IsZero() {
		t.Errorf("no backup leads up to it: %+v", s)
	}
}

// A promotion applies the log before a stream that no backup leads up to, and nothing of that
// stream: what was confirmed before the gap is kept.
func TestAPromotionAppliesTheLogBeforeAGap(t *testing.T) {
	w := newWorld(t)
	w.replica.log = "01"
	before := w.ship(1, begin{"a", 0}, 2, true, "23", "4")
	s := w.ship(2, begin{"a", 0}, 7, true, "78")
	s.Before, s.Unbased = []ha.Stream{before}, true
	if _, err := w.following.CatchUp(t.Context(), map[string]ha.Stream{"db": s}); err != nil {
		t.Fatal(err)
	}
	w.want("01234")
	if w.replica.caught != 5 {
		t.Errorf("the stage is closed for the swap at %d", w.replica.caught)
	}
}

// A promotion whose log does not go on from the backup is told how to do without it.
func TestAPromotionOverOtherLogIsToldTheWayOut(t *testing.T) {
	w := newWorld(t)
	s := w.ship(1, begin{"a", 0}, 0, true, "012", "34")
	w.replica.err = source.ErrDiverged
	if _, err := w.following.CatchUp(t.Context(), map[string]ha.Stream{"db": s}); !errors.Is(err, source.ErrDiverged) || !strings.Contains(err.Error(), "--without-log") {
		t.Errorf("%v, want %v", err, source.ErrDiverged)
	}
}

// A stream whose confirmed end somebody has deleted is ended on an operator's word alone.
func TestAStreamThatHasLostItsEndIsEndedOnAWord(t *testing.T) {
	w := newWorld(t)
	s := w.ship(1, begin{"a", 0}, 0, false, "012", "34")
	s.Tip.Time = time.Now()
	w.names(s)
	if err := w.memory.Delete(t.Context(), stream.Key("db", s.ID, 2)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.following.End(t.Context(), w.status.Head.Streams, false, "p", stream.End{Lease: "l"}); !errors.Is(err, stream.ErrBelow) || !strings.Contains(err.Error(), "--without-log") {
		t.Errorf("%v, want %v", err, stream.ErrBelow)
	}
	ends, err := w.following.End(t.Context(), w.status.Head.Streams, true, "p", stream.End{Lease: "l"})
	if err != nil || !ends["db"].Closed {
		t.Errorf("%+v, %v", ends, err)
	}
}

// A replica that had paused is seen as such until it goes on, and each time counts.
func TestAReplicaThatPausesIsSeen(t *testing.T) {
	w := newWorld(t)
	w.replica.log = "01234"
	w.names(w.ship(1, begin{"a", 0}, 2, false, "234", "567"))
	w.turn()
	if s := w.shown(); s.Paused || s.Pauses != 0 {
		t.Errorf("it goes on: %+v", s)
	}
	w.replica.paused, w.replica.hangs = true, errors.New("it does not start")
	w.turn()
	if s := w.shown(); !s.Paused || s.Pauses != 1 || !strings.Contains(s.Error, "it does not start") {
		t.Errorf("it has paused: %+v", s)
	}
	w.replica.paused, w.replica.hangs = false, errors.New("no answer yet")
	w.turn()
	if s := w.shown(); !s.Paused || s.Pauses != 1 || s.Error != "" {
		t.Errorf("it is not known to go on: %+v", s)
	}
	w.replica.hangs = nil
	w.turn()
	if s := w.shown(); s.Paused || s.Pauses != 1 {
		t.Errorf("it goes on again: %+v", s)
	}
}
