package ha

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

// behind answers an instance's reads of a key with what the bucket has now.
func (r *rig) behind(who *instance, key string) func(*instance, Effect) (Done, bool) {
	v, token := r.objects[key], r.tokens[key]
	return func(n *instance, e Effect) (Done, bool) {
		read, ok := e.(Read)
		switch {
		case !ok || n != who || read.Key != key:
			return Done{}, false
		case token == "":
			return Done{ID: read.ID, Outcome: Missing}, true
		case token == read.IfChanged:
			return Done{ID: read.ID, Outcome: NotModified}, true
		}
		return Done{ID: read.ID, Object: v, Token: token}, true
	}
}

func writesOf(key string) func(Effect) bool {
	return func(e Effect) bool {
		w, ok := e.(Write)
		return ok && w.Key == key
	}
}

// TestOlderVersionsOfTheHeadDecideNothing has a candidate see the head of a minute
// ago: it commits nothing, says why, does not write in a tight loop, and goes on by
// itself once it sees the newest.
func TestOlderVersionsOfTheHeadDecideNothing(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	r.fail = r.behind(b, HeadKey)
	r.pass(time.Minute, a)
	b.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(time.Minute, a, b)
	if h := r.head(); h.Epoch != 1 || b.app {
		t.Fatalf("head %+v, app %v", h, b.app)
	}
	if s := b.m.Status(); !strings.Contains(s.Bucket, "an older version of head.json") {
		t.Fatalf("bucket %q", s.Bucket)
	}
	if n := b.count(writesOf(HeadKey)); n == 0 || n > 20 {
		t.Fatalf("%d writes of the head in a minute", n)
	}
	alarms := b.count(func(e Effect) bool { rep, ok := e.(Report); return ok && rep.Level == Alarm && rep.Kind == "bucket" })
	if alarms != 1 {
		t.Fatalf("%d alarms", alarms)
	}
	r.fail = nil
	r.pass(time.Minute, a, b)
	if s := b.m.Status(); s.Bucket != "ok" || !b.done["p"] {
		t.Fatalf("afterwards: %+v", s)
	}
}

// TestOlderVersionsOfOtherObjectsCostLittle has an instance see a lease that is
// gone, and no marker where one is.
func TestOlderVersionsOfOtherObjectsCostLittle(t *testing.T) {
	for _, key := range []string{LeaseKey, MarkerKey(2)} {
		t.Run(key, func(t *testing.T) {
			r := newRig(t)
			a, b := r.active(), r.start("b", Journal{})
			r.pass(20*time.Second, a, b)
			r.fail = r.behind(b, key)
			if key == LeaseKey {
				r.put(key, &Lease{Format: Format, Cluster: "c", ID: "other", Released: true, Nonce: "x"})
			} else {
				r.put(key, &Marker{Format: Format, Cluster: "c", Epoch: 2, Active: Peer{Name: "b"}, Nonce: "x"})
			}
			b.step(Promote{Request: "p", Mode: ModeFailover})
			r.pass(time.Minute, a, b)
			if n := b.count(writesOf(key)); n < 2 || n > 20 {
				t.Errorf("%d writes in a minute", n)
			}
			if s := b.m.Status(); key == LeaseKey && !strings.Contains(s.Bucket, "an older version of "+key) {
				t.Errorf("bucket %q", s.Bucket)
			}
			r.fail = nil
			r.pass(2*time.Minute, a, b)
			if s := b.m.Status(); !b.done["p"] || s.Bucket != "ok" {
				t.Errorf("answer %v, bucket %q", b.answers["p"], s.Bucket)
			}
			b.step(Promote{Request: "q", Mode: ModeFailover}) // where it has given up
			if r.pass(time.Minute, a, b); !b.app || r.head().Epoch != 2 {
				t.Errorf("not promoted: %v, %v", b.answers["p"], b.answers["q"])
			}
		})
	}
}

// TestAnOlderHeadDoesNotTakeBackWhatTheMarkerSaid: an active whose answers are lost
// learns from the marker that it is deposed, and then sees the last head that it wrote.
func TestAnOlderHeadDoesNotTakeBackWhatTheMarkerSaid(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(25*time.Second, a, b)
	unanswered := func(n *instance, e Effect) (Done, bool) {
		w, ok := e.(Write)
		if !ok || n != a || w.Key != HeadKey {
			return Done{}, false
		}
		if r.tokens[HeadKey] == w.Cond.Match() && r.head().Epoch == 1 {
			r.put(HeadKey, w.Object)
		}
		return Done{ID: w.ID, Outcome: Unknown, Err: errors.New("reset")}, true
	}
	var last func(*instance, Effect) (Done, bool) // shows a's last head
	r.fail = func(n *instance, e Effect) (Done, bool) {
		d, ok := unanswered(n, e)
		if r.head().Epoch == 1 {
			last = r.behind(a, HeadKey)
		} else if !ok {
			return last(n, e)
		}
		return d, ok
	}
	b.hold = true
	b.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(5*time.Second, b)
	for n := r.head().Rev; r.head().Rev == n; {
		r.pass(time.Second, a)
	}
	b.hold = false
	for _, e := range b.held {
		if d, ok := b.work(e); ok {
			b.step(d)
		}
	}
	for range 30 {
		r.pass(time.Second, b, a)
	}
	if r.head().Epoch != 2 {
		t.Fatalf("not promoted: %+v, %v", r.head(), b.answers["p"])
	}
	if s := a.m.Status(); s.Leading || s.Role != RoleStandby || a.app {
		t.Errorf("it leads again: %+v", s)
	}
	r.fail = nil
	r.pass(time.Minute, a, b)
	if a.count(isSalvage) == 0 {
		t.Error("what it had is kept nowhere")
	}
}

// TestAVersionThatWasPutThereAgainIsBelieved: an operator restores a deleted head,
// and it has the very token that writes have lost against.
func TestAVersionThatWasPutThereAgainIsBelieved(t *testing.T) {
	r := newRig(t)
	a := r.active()
	r.pass(20*time.Second, a)
	saved, token := r.objects[HeadKey], r.tokens[HeadKey]
	r.fail = func(n *instance, e Effect) (Done, bool) { // deleted, and back before anybody reads
		w, ok := e.(Write)
		return Done{ID: w.ID, Outcome: Lost}, ok && w.Cond == blobstore.IfMatch(token)
	}
	r.pass(30*time.Second, a)
	r.fail = nil
	r.objects[HeadKey], r.tokens[HeadKey] = saved, token
	r.pass(30*time.Second, a)
	if s := a.m.Status(); s.Bucket != "ok" || !s.Leading || r.head().Rev <= saved.(*Head).Rev {
		t.Fatalf("%+v, head %+v", s, r.head())
	}
}

// TestOlderVersionsDoNotUndoAPromotionThatHasCommitted: the data folder was put back to
// the middle of it, and a cache shows the bucket as it was then. A write shows that the
// cache is behind; what the application has written since is not swapped back.
func TestOlderVersionsDoNotUndoAPromotionThatHasCommitted(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	var middle Journal
	then := map[string]func(*instance, Effect) (Done, bool){}
	r.fail = func(n *instance, e Effect) (Done, bool) {
		if _, ok := e.(Swap); ok && n == b {
			middle = b.reread()
			for _, key := range []string{HeadKey, LeaseKey} {
				then[key] = r.behind(nil, key)
			}
		}
		return Done{}, false
	}
	b.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(2*time.Minute, a, b)
	if h := r.head(); h.Epoch != 2 || h.Active.Name != "b" || middle.Promotion == nil || !middle.Promotion.Swapped {
		t.Fatalf("head %+v, journal %+v", h, middle)
	}
	r.fail = func(n *instance, e Effect) (Done, bool) {
		if read, ok := e.(Read); ok && n != a && then[read.Key] != nil {
			return then[read.Key](nil, e)
		}
		return Done{}, false
	}
	again := r.startWith("b", middle, func(p *Params) { p.Swapped = true })
	undone := func(e Effect) bool { _, ok := e.(Rollback); return ok }
	if r.pass(2*time.Minute, a, again); again.count(undone) > 0 {
		t.Error("swapped back by what a cache showed")
	}
	if n := again.count(writesOf(LeaseKey)); n == 0 || n > 40 {
		t.Errorf("%d writes of the lease in two minutes", n)
	}
	r.fail = nil
	if r.pass(2*time.Minute, a, again); again.count(undone) > 0 || again.m.Status().Promotion != nil {
		t.Errorf("%d swapped back, %+v", again.count(undone), again.m.Status().Promotion)
	}
	if d := again.journal.Demotion; d == nil || !d.Made {
		t.Errorf("its state is not kept: %+v", d)
	}
}
