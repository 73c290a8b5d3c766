package ha

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/stream"
)

// ends answers whatever closes or ends streams: each gets an end part behind its tip.
func ends(_ *instance, e Effect) (Done, bool) {
	var all map[string]Stream
	var id uint64
	switch e := e.(type) {
	case CloseStreams:
		id, all = e.ID, e.Streams
	case EndStreams:
		id, all = e.ID, e.Streams
	default:
		return Done{}, false
	}
	ended := map[string]Stream{}
	for source, s := range all {
		if !s.Closed {
			s.Tip.Sequence++
			s.Tip.Digest = "end of " + s.ID.String()
		}
		ended[source] = s
	}
	return Done{ID: id, Ends: ended}, true
}

// streaming is an active with a stream of each of two sources, and a standby.
func streaming(t *testing.T) (r *rig, a, b *instance) {
	t.Helper()
	r = newRig(t)
	r.fail = ends
	a, b = r.active(), r.start("b", Journal{})
	for _, n := range []*instance{a, b} {
		n.step(UseStreams{Sources: []string{"db", "queue"}})
	}
	r.pass(5*time.Second, a, b)
	a.step(StreamReady{Source: "db", From: 10})
	a.step(StreamReady{Source: "queue", From: 20})
	r.pass(5*time.Second, a, b)
	return r, a, b
}

// last is the last effect of a kind that an instance asked for; false: there was none.
func last[E Effect](n *instance) (e E, ok bool) {
	for _, seen := range slices.Backward(n.seen) {
		if e, ok = seen.(E); ok {
			return e, true
		}
	}
	return e, false
}

// where is where the first effect that matches was asked for; -1: nowhere.
func where(n *instance, match func(Effect) bool) int { return slices.IndexFunc(n.seen, match) }

func TestAnActiveOpensItsStreamsByTheHead(t *testing.T) {
	r, a, b := streaming(t)
	want := stream.ID{Epoch: 1, N: 1}
	for source, from := range map[string]stream.Position{"db": 10, "queue": 20} {
		if s := r.head().Streams[source]; s.ID != want || s.From != from || s.Unbased {
			t.Errorf("the head names %+v of %s", s, source)
		}
	}
	opened := where(a, func(e Effect) bool { w, ok := e.(Write); return ok && w.Step == stepHeadStreams })
	ships := where(a, func(e Effect) bool { s, ok := e.(Ship); return ok && s.Stream.Unbased })
	backups := a.count(isBackup)
	if opened < 0 || ships < opened || backups < 2 {
		t.Fatalf("opened at %d, shipped from %d on, %d backups", opened, ships, backups)
	}
	if s, _ := last[Ship](a); s.Stream.Unbased {
		t.Error("nothing says that a backup leads up to the streams")
	}
	if u, ok := last[ShipUntil](a); !ok || u.Until.Mono <= r.now || u.Until.Mono > r.now+time.Minute {
		t.Errorf("may be confirmed until %v, and it is %v", u.Until.Mono, r.now)
	}
	a.step(Shipped{Source: "db", ID: want, Tip: stream.Tip{Sequence: 7, Digest: "seven", To: 70}})
	r.pass(11*time.Second, a, b)
	if tip := r.head().Streams["db"].Tip; tip.Sequence != 7 || tip.To != 70 {
		t.Errorf("a heartbeat names %+v", tip)
	}
	// A process of the same instance goes on in the same stream.
	a = r.start("a", a.journal)
	a.step(UseStreams{Sources: []string{"db", "queue"}})
	r.pass(11*time.Second, a, b)
	if s, ok := last[Ship](a); !ok || s.Stream.ID != want || r.head().Streams["db"].Tip.Sequence != 7 {
		t.Errorf("after a restart %+v is shipped", s)
	}
}

func TestAFailoverEndsEveryStreamAndNamesTheEnds(t *testing.T) {
	r, _, b := streaming(t)
	b.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(90*time.Second, b) // a is dead
	end, _ := last[EndStreams](b)
	stage, _ := last[Stage](b)
	if len(end.Streams) != 2 || end.Lease != "p" || len(stage.Ends) != 2 || stage.Ends["db"].Tip.Digest != "end of 1-1" {
		t.Fatalf("ended %+v, staged with %+v", end, stage)
	}
	h := r.head()
	if h.Epoch != 2 || len(h.Streams) != 0 || len(h.Ended) != 2 || !h.Ended["queue"].Closed {
		t.Fatalf("head %+v", h)
	}
	if p, _ := last[PrepareStream](b); p.After.ID != (stream.ID{Epoch: 1, N: 1}) {
		t.Errorf("a stream is prepared after %+v", p.After)
	}
	b.step(StreamReady{Source: "db", From: 10})
	r.pass(5*time.Second, b)
	if s := r.head().Streams["db"]; s.ID != (stream.ID{Epoch: 2, N: 1}) || s.Unbased {
		t.Errorf("the new epoch's stream is %+v", s)
	}
}

func TestAPromotionToAnOlderBackupEndsTheStreamsAndAppliesNothing(t *testing.T) {
	r, a, b := streaming(t)
	older := &backup.Ref{ID: "e1-s1", Epoch: 1, Sequence: 1, Digest: "e1-s1"}
	b.step(Promote{Request: "p", Mode: ModeFailover, Chosen: older})
	r.pass(90*time.Second, a, b)
	_, ended := last[EndStreams](b)
	if stage, _ := last[Stage](b); !ended || len(stage.Ends) != 0 {
		t.Fatalf("ended %v, staged with %+v", ended, stage)
	}
	if h := r.head(); h.Epoch != 2 || len(h.Ended) != 2 || len(h.Logs()) != 0 {
		t.Errorf("head %+v", h)
	}
	if _, stopped := last[StopShipping](a); !stopped {
		t.Error("the old active ships on")
	}
}

func TestAHandoverClosesTheStreamsAfterTheFinalBackup(t *testing.T) {
	r, a, b := streaming(t)
	b.step(Promote{Request: "p"})
	r.pass(60*time.Second, a, b)
	if err := b.answers["p"]; !b.done["p"] || err != nil {
		t.Fatalf("answer %v, %+v", err, b.m.Status().Promotion)
	}
	final := where(a, func(e Effect) bool { m, ok := e.(MakeBackup); return ok && m.Trigger == "switchover" })
	closed := where(a, func(e Effect) bool { _, ok := e.(CloseStreams); return ok })
	handed := where(a, func(e Effect) bool {
		w, ok := e.(Write)
		h, is := w.Object.(*Head)
		return ok && is && h.Handover != nil && h.Handover.State == Handed && h.Streams["db"].Closed && h.Streams["queue"].Closed
	})
	if final < 0 || closed < final || handed < closed {
		t.Errorf("final backup at %d, streams closed at %d, handed over at %d", final, closed, handed)
	}
	if h := r.head(); h.Epoch != 2 || h.Ended["db"].Tip.Digest != "end of 1-1" {
		t.Errorf("head %+v", h)
	}
}

func TestAnEndThatIsNotTheActivesOwnEndsASwitchover(t *testing.T) {
	r, a, b := streaming(t)
	r.fail = func(n *instance, e Effect) (Done, bool) {
		d, ok := ends(n, e)
		if _, promoter := e.(EndStreams); promoter {
			s := d.Ends["db"]
			s.Tip.Digest = "another"
			d.Ends["db"] = s
		}
		return d, ok
	}
	b.step(Promote{Request: "p"})
	r.pass(90*time.Second, a, b)
	if err := b.answers["p"]; err == nil || !strings.Contains(err.Error(), "deleted or replaced parts") {
		t.Fatalf("answer %v", err)
	}
	if r.head().Epoch != 1 || !a.app {
		t.Errorf("head %+v, app %v", r.head(), a.app)
	}
}

func TestAStreamThatWasEndedIsReplacedOnceNobodyHoldsTheLease(t *testing.T) {
	r, a, b := streaming(t)
	b.hold = true // the restore does not end
	b.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(5*time.Second, a, b)
	one, end := stream.ID{Epoch: 1, N: 1}, stream.Tip{Sequence: 1, Digest: "end of 1-1", To: 10}
	a.step(StreamClosed{Source: "db", ID: one, Tip: end, End: stream.End{Lease: "p"}})
	a.step(StreamReady{Source: "db", From: 10})
	r.pass(3*time.Minute, a, b)
	if s := r.head().Streams["db"]; s.ID != one || !s.Closed {
		t.Fatalf("while somebody holds the lease the head names %+v", s)
	}
	b.step(CancelPromotion{Request: "c"})
	for _, e := range b.held {
		b.hold = false
		b.step(Done{ID: workID(e), Outcome: Failed, Err: errors.New("cancelled")})
	}
	r.pass(15*time.Second, a, b)
	s := r.head().Streams["db"]
	if s.ID != (stream.ID{Epoch: 1, N: 2}) || s.Unbased || r.head().Epoch != 1 {
		t.Fatalf("then it names %+v", s)
	}
	if ship, _ := last[Ship](a); ship.Stream.ID != s.ID {
		t.Errorf("shipped is %+v", ship)
	}
}

func TestAStreamOpenedMeanwhileKeepsAPromotionFromCommitting(t *testing.T) {
	r, _, b := streaming(t)
	r.fail = func(n *instance, e Effect) (Done, bool) {
		if _, ok := e.(Swap); ok && n == b { // the open was under way, and lands
			h := *r.head()
			h.Rev++
			h.Nonce = "late"
			h.Streams = map[string]Stream{"db": {ID: stream.ID{Epoch: 1, N: 2}}, "queue": h.Streams["queue"]}
			r.put(HeadKey, &h)
		}
		return ends(n, e)
	}
	b.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(30*time.Second, b)
	if err := b.answers["p"]; err == nil || !strings.Contains(err.Error(), "has opened another stream") {
		t.Fatalf("answer %v, head %+v", err, r.head())
	}
}

func TestWhoFindsAnotherLogBeginsANewStreamWithABackup(t *testing.T) {
	r, a, b := streaming(t)
	backups := a.count(isBackup)
	a.step(StreamForked{Source: "db", ID: stream.ID{Epoch: 1, N: 1}, Incarnation: "a-copy"})
	r.pass(2*time.Second, a, b)
	a.step(StreamReady{Source: "db", From: 5})
	r.pass(5*time.Second, a, b)
	unbased := a.count(func(e Effect) bool { s, ok := e.(Ship); return ok && s.Stream.ID.N == 2 && s.Stream.Unbased })
	if s := r.head().Streams["db"]; s.ID.N != 2 || unbased != 1 || a.count(isBackup) != backups+1 || s.Unbased {
		t.Errorf("the head names %+v, %d backups more", s, a.count(isBackup)-backups)
	}
}

// TestWhatAnOlderVersionHasDroppedBeginsAgain has an earlier version, which knows no
// streams, write the head: whoever goes on finds the names taken, and takes the next.
func TestWhatAnOlderVersionHasDroppedBeginsAgain(t *testing.T) {
	r, a, b := streaming(t)
	h := *a.m.head.known()
	h.Streams, h.Ended = nil, nil
	r.put(HeadKey, &h) // the very version that its journal knows
	a = r.start("a", a.journal)
	a.step(UseStreams{Sources: []string{"db"}})
	r.pass(5*time.Second, a, b)
	for _, n := range []uint64{1, 2} {
		a.step(StreamReady{Source: "db", From: 30})
		r.pass(5*time.Second, a, b)
		if s := r.head().Streams["db"]; s.ID != (stream.ID{Epoch: 1, N: n}) {
			t.Fatalf("the head names %+v, want 1-%d", s, n)
		}
		a.step(StreamForked{Source: "db", ID: stream.ID{Epoch: 1, N: n}})
		r.pass(2*time.Second, a, b)
	}
}

// TestSourcesThatComeIntoForceAreShippedAnew, under their names too: a source of the same
// name may have another address, or is to have its commits wait.
func TestSourcesThatComeIntoForceAreShippedAnew(t *testing.T) {
	r, a, b := streaming(t)
	ships := func(e Effect) bool { _, ok := e.(Ship); return ok }
	before := a.count(ships)
	a.step(UseStreams{Sources: []string{"db", "queue"}})
	r.pass(time.Second, a, b)
	if n := a.count(ships) - before; n != 2 {
		t.Errorf("%d streams are shipped anew", n)
	}
	if s := r.head().Streams["db"]; s.ID != (stream.ID{Epoch: 1, N: 1}) || s.Closed {
		t.Errorf("the head names %+v", s)
	}
}

// Who receives a server's log and cannot confirm it keeps the server from stopping: under
// strict fencing shipping ends when the servers are to, and goes on once the bucket is back.
func TestShippingEndsWithTheServers(t *testing.T) {
	r, a, b := streaming(t)
	r.head().Fencing.Mode = Strict
	r.pass(20*time.Second, a, b)
	a.seen, r.fail = nil, r.answersLost()
	r.pass(time.Minute, a)
	shipping := where(a, func(e Effect) bool { return e == Effect(StopShipping{}) })
	servers := where(a, func(e Effect) bool { s, ok := e.(StopApp); return ok && s.Servers })
	if shipping < 0 || servers < 0 || shipping > servers+1 {
		t.Fatalf("shipping ends by effect %d, and the servers by %d", shipping, servers)
	}
	a.seen, r.fail = nil, ends
	r.pass(30*time.Second, a)
	if _, ok := last[Ship](a); !ok || !a.app {
		t.Errorf("the bucket is back: ships %v, runs %v", ok, a.app)
	}
}

func TestStoppingToShipWaitsForNoJournal(t *testing.T) {
	var b Barrier
	b.Add(0, Save{})
	if out := b.Add(0, Ship{Source: "db"}, ShipUntil{}, CloseStreams{ID: 3}, StopShipping{}); len(out) != 1 || out[0] != (StopShipping{}) {
		t.Fatalf("carried out at once: %v", out)
	}
	if out := b.Saved(); len(out) != 0 {
		t.Errorf("carried out after it was stopped: %v", out)
	}
	if d := b.Ended(); len(d) != 1 || d[0].ID != 3 || d[0].Outcome != Failed {
		t.Errorf("ended: %v", d)
	}
}

// TestAPromotionToAMoment ends the streams, and has the sources staged as they were then. What
// they had later is of no use to anybody after it, though the backup is the newest: the head
// names no stream, and the next one needs a backup.
func TestAPromotionToAMoment(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 250_000_000, time.UTC)
	for name, older := range map[string]bool{"with the newest backup": false, "with an older backup": true} {
		r, a, b := streaming(t)
		chosen := r.head().Newest
		if older {
			chosen = &backup.Ref{ID: "e1-s1", Epoch: 1, Sequence: 1, Digest: "e1-s1"}
		}
		b.step(Promote{Request: "p", Mode: ModeFailover, Chosen: chosen, Moment: &at})
		if p := b.reread().Promotion; p == nil || p.Moment == nil || !p.Moment.Equal(at) {
			t.Fatalf("%s: the journal has %+v", name, p)
		}
		r.pass(90*time.Second, a, b)
		end, _ := last[EndStreams](b)
		stage, _ := last[Stage](b)
		if len(end.Streams) != 2 || len(stage.Ends) != 0 || stage.Ref.ID != chosen.ID || stage.Moment == nil || !stage.Moment.Equal(at) {
			t.Fatalf("%s: ended %+v, staged %+v", name, end, stage)
		}
		if h := r.head(); h.Epoch != 2 || h.Newest.Epoch != 1 && h.StartedFrom.ID != chosen.ID || len(h.Ended) != 0 || len(h.Logs()) != 0 {
			t.Errorf("%s: head %+v", name, h)
		}
		if _, stopped := last[StopShipping](a); !stopped {
			t.Errorf("%s: the old active ships on", name)
		}
		if mk := r.objects[MarkerKey(2)].(*Marker); mk.Moment == nil || !mk.Moment.Equal(at) {
			t.Errorf("%s: marker %+v", name, mk)
		}
		if res := b.m.Status().Last; res == nil || !res.Promoted || res.Moment == nil || !res.Moment.Equal(at) {
			t.Errorf("%s: result %+v", name, res)
		}
		b.step(StreamReady{Source: "db", From: 10, Gap: true})
		r.pass(time.Second, b)
		if s := r.head().Streams["db"]; s.ID != (stream.ID{Epoch: 2, N: 1}) || len(s.Before) > 0 {
			t.Errorf("%s: the new epoch's stream is %+v", name, s)
		}
	}
}

// TestAfterAMomentNobodyAppliesWhatItLeftOut: before there is a backup of its epoch, a failover
// goes back to the backup alone.
func TestAfterAMomentNobodyAppliesWhatItLeftOut(t *testing.T) {
	r, _, b := streaming(t)
	at, newest := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), r.head().Newest
	r.fail = func(n *instance, e Effect) (Done, bool) {
		if e, ok := e.(MakeBackup); ok {
			return Done{ID: e.ID, Outcome: Failed, Err: errors.New("no room")}, true
		}
		return ends(n, e)
	}
	b.step(Promote{Request: "p", Mode: ModeFailover, Chosen: newest, Moment: &at})
	r.pass(90*time.Second, b)
	c := r.start("c", Journal{})
	r.pass(5*time.Second, b, c)
	c.step(Promote{Request: "q", Mode: ModeFailover})
	r.pass(90*time.Second, c)
	stage, _ := last[Stage](c)
	if h := r.head(); h.Epoch != 3 || stage.Ref.ID != newest.ID || len(stage.Ends) != 0 || stage.Moment != nil {
		t.Errorf("epoch %d, staged %+v", h.Epoch, stage)
	}
}

func TestAMomentNeedsItsBackupAndTheLog(t *testing.T) {
	r, a, b := streaming(t)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for request, ev := range map[string]Promote{
		"no backup": {Mode: ModeFailover, Moment: &at}, "no log": {Mode: ModeFailover, Moment: &at, Chosen: r.head().Newest, WithoutLog: true},
	} {
		ev.Request = request
		b.step(ev)
		r.pass(5*time.Second, a, b)
		if err := b.answers[request]; !IsRefusal(err) || b.m.Status().Promotion != nil {
			t.Errorf("%s: %v", request, err)
		}
	}
}
