package ha

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// putBack puts the bucket back to what it was.
func (r *rig) putBack(objects map[string]any) {
	for key := range r.objects {
		delete(r.objects, key)
		delete(r.tokens, key)
	}
	for key, v := range objects {
		r.put(key, v)
	}
}

// sighting is what an instance sees.
func (n *instance) sighting() Sighting {
	s := n.m.Status()
	out := Sighting{Instance: n.name, Seen: s.Seen, Head: n.journal.SeenHead}
	if s.Older != nil {
		shown := s.Older.Head.Position()
		out.Shown = &shown
	} else if s.Head != nil {
		shown := s.Head.Position()
		out.Shown, out.Leading = &shown, s.Leading
	}
	return out
}

// surveyOf answers as these instances would.
func (r *rig) surveyOf(nodes ...*instance) {
	r.survey = func() (all []Sighting) {
		for _, n := range nodes {
			all = append(all, n.sighting())
		}
		return all
	}
}

// recover asks an instance to go on from the bucket as it is.
func (n *instance) recover(request string, unasked ...string) {
	n.r.t.Helper()
	older := n.m.Status().Older
	if older == nil {
		n.r.t.Fatalf("%s sees no older head: %+v", n.name, n.m.Status())
	}
	n.step(Recover{Request: request, By: "operator", Shown: older.Head.Position(), Unasked: unasked})
}

// twoAndAnOldBucket are an active and a standby whose bucket was put back.
func twoAndAnOldBucket(t *testing.T, mode FencingMode) (r *rig, a, b *instance, newest *Head) {
	r = newRig(t)
	r.head().Fencing.Mode = mode
	a, b = r.active(), r.start("b", Journal{})
	r.pass(30*time.Second, a, b)
	old := maps.Clone(r.objects)
	a.step(RequestBackup{Request: "lost"})
	r.pass(30*time.Second, a, b)
	newest = r.head()
	r.putBack(old)
	r.pass(30*time.Second, a, b)
	for _, n := range []*instance{a, b} {
		if s := n.m.Status(); s.Older == nil || s.Older.Seen.Position() != newest.Position() || !strings.Contains(s.Bucket, "rolled back") {
			t.Fatalf("%s: %+v", n.name, s)
		}
	}
	return r, a, b, newest
}

func TestTheActiveGoesOnFromABucketThatWasPutBack(t *testing.T) {
	for _, mode := range []FencingMode{Available, Strict} {
		for _, asked := range []string{"a", "b"} {
			t.Run(string(mode)+", asked for on "+asked, func(t *testing.T) {
				r, a, b, newest := twoAndAnOldBucket(t, mode)
				r.surveyOf(a, b)
				n := map[string]*instance{"a": a, "b": b}[asked]
				n.recover("r")
				r.pass(30*time.Second, a, b)
				h := r.head()
				if err, done := n.answers["r"], n.done["r"]; !done || err != nil {
					t.Fatalf("answer %v, %v", done, err)
				}
				if h.Epoch != newest.Epoch+1 || h.Rev <= newest.Rev || h.Active != a.m.p.Self || h.CutOff.ID != newest.Newest.ID {
					t.Fatalf("head %+v after %+v", h, newest)
				}
				if !a.app || !a.m.Status().Leading || a.m.Status().Refused != "" || b.m.Status().Bucket != "ok" || b.m.Status().Demotion != nil {
					t.Fatalf("app %v, a %+v, b %+v", a.app, a.m.Status(), b.m.Status())
				}
				mk, _ := r.objects[MarkerKey(h.Epoch)].(*Marker)
				if mk == nil || mk.Recovery == nil || mk.Recovery.By != "operator" || mk.Recovery.Over != newest.Position() || mk.CutOff.ID != newest.Newest.ID {
					t.Fatalf("marker %+v", mk)
				}
				if h.Newest.Epoch != h.Epoch || h.Newest.Sequence <= newest.Newest.Sequence {
					t.Fatalf("newest %+v after %+v", h.Newest, newest.Newest)
				}
				b.step(Promote{Request: "p"})
				r.pass(time.Minute, a, b)
				if !b.app || a.app || r.head().Epoch != h.Epoch+1 {
					t.Fatalf("after a switchover: %+v, answer %v", r.head(), b.answers["p"])
				}
			})
		}
	}
}

func TestNobodyGoesOnWhileSomebodySeesTheNewerHead(t *testing.T) {
	r, a, b, newest := twoAndAnOldBucket(t, Available)
	elsewhere, older := newest.Position(), r.head().Position()
	for _, c := range []struct {
		name  string
		sees  Sighting
		word  []string
		wants string
	}{
		{"a newer head", Sighting{Instance: "a", Shown: &elsewhere, Seen: elsewhere}, nil, "still sees a newer head"},
		{"a newer head, whatever the operator says", Sighting{Instance: "a", Shown: &elsewhere, Seen: elsewhere}, []string{"a"}, "still sees a newer head"},
		{"another head", Sighting{Instance: "a", Shown: &Position{Epoch: older.Epoch, Rev: older.Rev, Nonce: "another"}}, []string{"a"}, "another head"},
		{"nobody who could be asked", Sighting{Instance: "a", Error: "no route"}, []string{"b"}, "--without a"},
	} {
		r.survey = func() []Sighting { return []Sighting{c.sees, b.sighting()} }
		b.recover(c.name, c.word...)
		r.pass(30*time.Second, a, b)
		wantRefusal(t, b.answers[c.name], c.wants)
		if r.head().Position() != older {
			t.Fatalf("%s: the head is %+v", c.name, r.head())
		}
	}
	r.survey = func() []Sighting { return []Sighting{{Instance: "a", Error: "no route"}, b.sighting()} }
	b.recover("word", "a")
	r.pass(30*time.Second, b)
	if h := r.head(); b.answers["word"] != nil || h.Epoch != newest.Epoch+1 || len(h.Recovery.Unasked) != 1 {
		t.Fatalf("head %+v, answer %v", h, b.answers["word"])
	}
}

// A recovery whose answers are lost is done once.
func TestALostAnswerOfARecoveryIsResolved(t *testing.T) {
	r, a, b, newest := twoAndAnOldBucket(t, Available)
	r.surveyOf(a, b)
	lost := 0
	r.fail = func(n *instance, e Effect) (Done, bool) {
		w, ok := e.(Write)
		if !ok || n != b || w.Key != HeadKey || lost == 2 {
			return Done{}, false
		}
		if lost++; lost == 2 {
			r.put(HeadKey, w.Object)
		}
		return Done{ID: w.ID, Outcome: Unknown}, true
	}
	b.recover("r")
	r.pass(time.Minute, a, b)
	if h := r.head(); lost != 2 || b.answers["r"] != nil || !b.done["r"] || h.Epoch != newest.Epoch+1 || !a.app {
		t.Fatalf("%d lost, answer %v, head %+v", lost, b.answers["r"], h)
	}
}

// A copy of the active's data folder, older than the newest head, does not go on in
// its place.
func TestACopyDoesNotInheritARecoveredHead(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(30*time.Second, a, b)
	old := maps.Clone(r.objects)
	copied := a.journal
	r.pass(30*time.Second, a, b)
	r.putBack(old)
	r.pass(30*time.Second, b)
	r.survey = func() []Sighting { return []Sighting{{Instance: "a", Error: "it is off"}, b.sighting()} }
	b.recover("r", "a")
	r.pass(10*time.Second, b)
	c := r.start("a", copied)
	r.pass(30*time.Second, b, c)
	if c.app || c.m.Status().Role == RoleActive && c.m.Status().Refused == "" {
		t.Fatalf("app %v, %+v", c.app, c.m.Status())
	}
}

// A commit that landed, unheard of, before the bucket was put back was the newest
// head: its candidate goes on as the active.
func TestACommitThatWasPutBackIsFinished(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(30*time.Second, a, b)
	old := maps.Clone(r.objects)
	r.pass(30*time.Second, a, b)
	landed := false
	r.fail = func(n *instance, e Effect) (Done, bool) {
		if w, ok := e.(Write); ok && n == b && w.Key == HeadKey && !landed {
			landed = true
			r.put(HeadKey, w.Object)
		}
		if !landed {
			return Done{}, false
		}
		return cutOff(b)(n, e)
	}
	b.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(15*time.Second, a, b)
	if !landed || a.m.Status().Role != RoleStandby {
		t.Fatalf("landed %v, %+v", landed, a.m.Status())
	}
	r.putBack(old)
	r.fail = nil
	r.pass(20*time.Second, a, b)
	r.surveyOf(a, b)
	a.recover("r")
	r.pass(2*time.Minute, a, b)
	if h := r.head(); a.answers["r"] != nil || h.Active != b.m.p.Self || !b.app || a.app || !b.done["p"] || b.answers["p"] != nil {
		t.Fatalf("head %+v, apps %v %v, answers %v %v", h, a.app, b.app, a.answers["r"], b.answers["p"])
	}
}

// TestAnHeirWaitsForWhoLedOnTheOlderHead: nobody could ask that one, and its
// application runs until its time is over. It waits also when it is started again.
func TestAnHeirWaitsForWhoLedOnTheOlderHead(t *testing.T) {
	for _, mode := range []FencingMode{Available, Strict} {
		t.Run(string(mode), func(t *testing.T) {
			r := newRig(t)
			r.head().Fencing.Mode = mode
			a, b := r.active(), r.start("b", Journal{})
			r.pass(30*time.Second, a, b)
			old, wait := maps.Clone(r.objects), 2*b.m.p.Poll+r.head().Fencing.StopTimeout.std()
			if f := r.head().Fencing; mode == Strict {
				wait = f.TTL.std() + f.Margin.std()
			}
			b.step(Promote{Request: "p", Mode: ModeFailover})
			r.pass(3*time.Minute, b) // a stands still
			if !b.app || r.head().Epoch != 2 {
				t.Fatalf("not promoted: %+v", b.m.Status())
			}
			r.putBack(old)
			a = r.start("a", a.journal) // and goes on
			r.pass(20*time.Second, a, b)
			if !a.app || b.m.Status().Older == nil {
				t.Fatalf("app %v, %+v", a.app, b.m.Status())
			}
			r.survey = func() []Sighting { return []Sighting{{Instance: "a", Error: "no route"}, b.sighting()} }
			b.recover("r", "a")
			r.pass(25*time.Second, b)
			if err := b.answers["r"]; err != nil {
				t.Fatal(err)
			}
			if h := r.head(); h.Epoch != 3 || h.Active.Name != "b" || h.Recovery.Holder == nil || h.Recovery.Holder.Name != "a" || b.app {
				t.Fatalf("application %v, head %+v, recovery %+v", b.app, h, h.Recovery)
			}
			b = r.start("b", b.journal)
			r.pass(wait-2*time.Second, b)
			if b.app {
				t.Fatal("its application was started beside the other")
			}
			r.pass(10*time.Second, b)
			if !b.app || b.journal.Holder != nil {
				t.Fatalf("application %v, holder %+v, %+v", b.app, b.journal.Holder, b.m.Status())
			}
		})
	}
}

// TestAnInstanceLooksAtTheEpochOnWhichARecoveryWentOn: its data folder was put back to
// when it was a standby, in an epoch of the same number that is lost. It led the other
// one, and keeps what it has, whatever name it joins by.
func TestAnInstanceLooksAtTheEpochOnWhichARecoveryWentOn(t *testing.T) {
	recovered := func(over uint64) *Head {
		return &Head{Epoch: over + 1, Rev: 50, Nonce: "r", Active: Peer{Name: "c"}, Newest: &backup.Ref{ID: "n", Epoch: over},
			Recovery: &Recovery{Epoch: over + 1, Nonce: "r", Shown: Position{over, 33, "s"}, Over: Position{2, 39, "o"}}}
	}
	seen := Journal{Cluster: "c", Instance: "a", Role: RoleStandby, Seen: Position{2, 39, "o"}, SeenHead: &Head{Epoch: 2, Rev: 39, Nonce: "o"}}
	after := seen
	after.SeenHead = recovered(2)
	after.Seen = after.SeenHead.Position()
	for name, tt := range map[string]struct {
		j    Journal
		h    *Head
		want uint64
	}{
		"the epoch that was seen is another":   {seen, recovered(2), 2},
		"nothing but the first":                {Journal{Seen: Position{1, 9, "o"}}, recovered(1), 0},
		"a recovery that was seen":             {after, &Head{Epoch: 4, Recovery: after.SeenHead.Recovery}, 0},
		"epochs since a recovery":              {after, &Head{Epoch: 5, Recovery: after.SeenHead.Recovery}, 4},
		"more epochs than before the recovery": {seen, recovered(5), 3},
		"no recovery":                          {seen, &Head{Epoch: 3}, 0},
		"an instance that has seen nothing":    {Journal{}, recovered(2), 0},
	} {
		if got := tt.j.missedBefore(tt.h); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
	if j := JoinJournal(seen, "c", "b", recovered(2)); j.Demotion == nil {
		t.Error("it joins by another name and owes nothing")
	}
	if j := JoinJournal(seen, "c", "b", &Head{Epoch: 3, Newest: &backup.Ref{ID: "n"}}); j.Demotion != nil {
		t.Errorf("it owes %+v though it has missed nothing", j.Demotion)
	}
}
