package ha

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
)

// rig runs machines against a bucket that answers at once. Time moves only
// when a test says so.
type rig struct {
	t       *testing.T
	now     time.Duration
	wall    time.Time // at now 0
	objects map[string]any
	tokens  map[string]blobstore.Token
	writes  int
	fail    func(n *instance, e Effect) (Done, bool) // scripted faults
	survey  func() []Sighting                        // what all instances see
	wrote   bool                                     // no state is that of a salvage backup any more
}

type instance struct {
	r       *rig
	m       *Machine
	name    string
	journal Journal
	app     bool
	seen    []Effect
	answers map[string]error
	done    map[string]bool
	hold    bool // long work is not answered
	held    []Effect
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, objects: map[string]any{}, tokens: map[string]blobstore.Token{}}
	r.put(HeadKey, &Head{
		Format: Format, Cluster: "c", Epoch: 1, Rev: 1, Nonce: "n1", Active: Peer{Name: "a", Incarnation: "a0"},
		Config: "cfg", Fencing: DefaultConfig().Fencing,
	})
	return r
}

func (r *rig) put(key string, v any) blobstore.Token {
	r.writes++
	r.objects[key], r.tokens[key] = v, blobstore.Token(fmt.Sprint(r.writes))
	return r.tokens[key]
}

func (r *rig) head() *Head { return r.objects[HeadKey].(*Head) }

// start starts an instance's process on a journal.
func (r *rig) start(name string, j Journal) *instance {
	return r.startWith(name, j, func(*Params) {})
}

func (r *rig) startWith(name string, j Journal, change func(*Params)) *instance {
	r.writes++
	n := &instance{r: r, name: name, journal: j, answers: map[string]error{}, done: map[string]bool{}}
	p := Params{
		Cluster: "c", Self: Peer{Name: name, URL: "http://" + name, Incarnation: fmt.Sprint(name, r.writes)}, Boot: "boot",
		Poll: 10 * time.Second, Random: rand.NewChaCha8([32]byte{byte(r.writes)}),
	}
	change(&p)
	n.m = New(p, j)
	n.step(UseConfig{Frequency: Duration(5 * time.Minute)})
	return n
}

// active starts the cluster's first active.
func (r *rig) active() *instance {
	return r.start("a", Journal{Role: RoleActive, Epoch: 1, First: true, Last: Position{1, 1, "n1"}})
}

func (n *instance) step(ev Event) {
	n.r.t.Helper()
	queue := []Event{ev}
	for len(queue) > 0 {
		ev, queue = queue[0], queue[1:]
		for _, e := range n.m.Handle(Now{Mono: n.r.now, Boot: n.r.now, Wall: n.r.wall.Add(n.r.now)}, ev) {
			n.seen = append(n.seen, e)
			if d, ok := n.carryOut(e); ok {
				queue = append(queue, d)
			}
		}
	}
}

func (n *instance) carryOut(e Effect) (Done, bool) {
	if n.r.fail != nil {
		if d, ok := n.r.fail(n, e); ok {
			return d, true
		}
	}
	switch e := e.(type) {
	case Save:
		n.journal = e.Journal
	case Read:
		switch v, ok := n.r.objects[e.Key]; {
		case !ok:
			return Done{ID: e.ID, Outcome: Missing}, true
		case n.r.tokens[e.Key] == e.IfChanged:
			return Done{ID: e.ID, Outcome: NotModified}, true
		default:
			return Done{ID: e.ID, Object: v, Token: n.r.tokens[e.Key]}, true
		}
	case Write:
		_, ok := n.r.objects[e.Key]
		if e.Cond.Absent() && ok || e.Cond.Match() != "" && n.r.tokens[e.Key] != e.Cond.Match() {
			return Done{ID: e.ID, Outcome: Lost}, true
		}
		return Done{ID: e.ID, Token: n.r.put(e.Key, e.Object)}, true
	case StartApp:
		n.app = true
		return Done{ID: e.ID}, true
	case StopApp:
		n.app = n.app && n.m.p.Unstoppable // people alone stop that one
		return Done{ID: e.ID, Unstopped: n.m.p.Unstoppable}, true
	case FindBackup:
		return Done{ID: e.ID}, true
	case Survey:
		return Done{ID: e.ID, Sightings: n.r.survey()}, true
	case Answer:
		n.answers[e.Request], n.done[e.Request] = e.Refused, true
	default:
		return n.work(e)
	}
	return Done{}, false
}

func (n *instance) work(e Effect) (Done, bool) {
	if n.hold {
		n.held = append(n.held, e)
		return Done{}, false
	}
	switch e := e.(type) {
	case MakeBackup:
		id := fmt.Sprintf("e%d-s%d", e.Epoch, e.Sequence)
		return Done{ID: e.ID, Changed: true, Ref: &backup.Ref{ID: id, Epoch: e.Epoch, Sequence: e.Sequence, Digest: id}}, true
	case MakeSalvage:
		if e.Against != nil && strings.HasPrefix(e.Against.ID, "salvage-of-") && !n.r.wrote {
			return Done{ID: e.ID}, true
		}
		id := "salvage-of-" + n.m.p.Self.Incarnation
		return Done{ID: e.ID, Ref: &backup.Ref{ID: id, Digest: id}}, true
	case Pull:
		return Done{ID: e.ID}, true
	case Rehearse:
		return Done{ID: e.ID}, true
	case Checkpoint:
		return Done{ID: e.ID}, true
	case Rejoin:
		return Done{ID: e.ID}, true
	case Unstage:
		return Done{ID: e.ID}, true
	case Stage:
		return Done{ID: e.ID}, true
	case Swap:
		return Done{ID: e.ID}, true
	case Rollback:
		return Done{ID: e.ID}, true
	case Discard:
		return Done{ID: e.ID}, true
	}
	return Done{}, false
}

// pass lets time go by for all instances, second by second.
func (r *rig) pass(d time.Duration, nodes ...*instance) { r.passBy(time.Second, d, nodes...) }

// passBy has time pass in steps.
func (r *rig) passBy(step, d time.Duration, nodes ...*instance) {
	r.t.Helper()
	for end := r.now + d; r.now < end; {
		r.now += step
		for _, n := range nodes {
			n.step(Tick{})
		}
	}
}

// salvages are the salvage backups that the bucket lists, by their records' keys.
func (r *rig) salvages() (all []*backup.Ref) {
	for _, key := range slices.Sorted(maps.Keys(r.objects)) {
		if s, ok := r.objects[key].(*SalvageRecord); ok {
			all = append(all, s.Backup)
		}
	}
	return all
}

func (n *instance) count(match func(Effect) bool) int {
	c := 0
	for _, e := range n.seen {
		if match(e) {
			c++
		}
	}
	return c
}

func isBackup(e Effect) bool { _, ok := e.(MakeBackup); return ok }

func wantRefusal(t *testing.T, err error, text string) {
	t.Helper()
	if !IsRefusal(err) || !strings.Contains(err.Error(), text) {
		t.Fatalf("got %v, want a refusal that says %q", err, text)
	}
}

func TestActiveClaimsHeadBeforeItStartsAnything(t *testing.T) {
	r := newRig(t)
	a := r.active()
	if !a.app || r.head().Active.Incarnation != a.m.p.Self.Incarnation {
		t.Fatalf("app %v, head %+v", a.app, r.head().Active)
	}
	claimed := false
	for _, e := range a.seen {
		switch e.(type) {
		case Write:
			claimed = true
		case StartApp, MakeBackup:
			if !claimed {
				t.Fatalf("%T before the head was claimed", e)
			}
		}
	}
	if got := r.head().Newest; got == nil || got.Sequence != 1 {
		t.Fatalf("newest %v, want the first backup", got)
	}
}

func TestEveryHeadWriteIsJournalledFirst(t *testing.T) {
	r := newRig(t)
	a := r.active()
	r.pass(time.Minute, a)
	var last Journal
	for _, e := range a.seen {
		switch e := e.(type) {
		case Save:
			last = e.Journal
		case Write:
			if h, ok := e.Object.(*Head); ok && (last.Pending == nil || !last.Pending.has(h.Nonce) || last.Pending.Token != string(e.Cond.Match())) {
				t.Fatalf("head %d was sent, and the journal had %+v", h.Rev, last.Pending)
			}
		}
	}
}

func TestCopiedDataFolderIsNotActive(t *testing.T) {
	r := newRig(t)
	a := r.active()
	old := a.journal
	r.pass(30*time.Second, a)

	b := r.start("a", old) // a restored virtual machine, or a copied folder
	if b.app || b.m.Status().Leading || !strings.Contains(b.m.Status().Refused, "copy") {
		t.Fatalf("the copy: app %v, status %+v", b.app, b.m.Status())
	}
	b.step(RequestBackup{Request: "r"})
	wantRefusal(t, b.answers["r"], "not the active")
	r.pass(30*time.Second, a, b)
	if !a.app || !a.m.Status().Leading {
		t.Fatal("the original was disturbed")
	}
}

func TestSecondProcessUnderOneNameStopsTheFirst(t *testing.T) {
	r := newRig(t)
	a := r.active()
	b := r.start("a", a.journal) // copied just now: it knows the head
	if !b.m.Status().Leading {
		t.Fatal("the second does not lead")
	}
	r.pass(11*time.Second, a)
	if a.app || a.m.Status().Refused == "" {
		t.Fatalf("the first goes on: %+v", a.m.Status())
	}
}

func TestHeadThatIsGoneIsAnAlarm(t *testing.T) {
	r := newRig(t)
	a := r.active()
	saved, token := r.objects[HeadKey], r.tokens[HeadKey]
	delete(r.objects, HeadKey)
	delete(r.tokens, HeadKey)
	r.pass(time.Minute, a)
	if _, ok := r.objects[HeadKey]; ok {
		t.Fatal("the head was made anew")
	}
	if s := a.m.Status(); !strings.Contains(s.Bucket, "no head.json") || !a.app {
		t.Fatalf("app %v, bucket %q", a.app, s.Bucket)
	}
	r.objects[HeadKey], r.tokens[HeadKey] = saved, token
	r.pass(time.Minute, a)
	if s := a.m.Status(); s.Bucket != "ok" || !s.Leading {
		t.Fatalf("after it came back: %+v", s)
	}
}

func TestRolledBackHeadIsRefused(t *testing.T) {
	r := newRig(t)
	a := r.active()
	old := *r.head()
	b := r.start("b", Journal{})
	r.pass(30*time.Second, a, b)
	r.put(HeadKey, &old)
	r.pass(30*time.Second, b)
	if s := b.m.Status(); !strings.Contains(s.Bucket, "rolled back") {
		t.Fatalf("bucket %q", s.Bucket)
	}
	b.step(Promote{Request: "p", Mode: ModeFailover})
	wantRefusal(t, b.answers["p"], "rolled back")
}

func TestSwitchover(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	b.step(Promote{Request: "p"})
	for range 60 {
		r.pass(time.Second, a, b)
		if a.app && b.app {
			t.Fatal("two applications run")
		}
	}
	if err := b.answers["p"]; !b.done["p"] || err != nil {
		t.Fatalf("answer %v, %+v", err, b.m.Status().Promotion)
	}
	h := r.head()
	if h.Epoch != 2 || h.Active.Name != "b" || h.Handover != nil || !b.app || a.app {
		t.Fatalf("head %+v, apps %v %v", h, a.app, b.app)
	}
	if mk := r.objects[MarkerKey(2)].(*Marker); mk.Old.Name != "a" || mk.Mode != ModeSwitchover {
		t.Fatalf("marker %+v", mk)
	}
	if s := r.objects[SalvageKey(2, a.m.p.Self, nil)].(*SalvageRecord); s.Backup != nil {
		t.Fatalf("a switchover has nothing to salvage, got %v", s.Backup)
	}
	if l := r.objects[LeaseKey].(*Lease); !l.Released {
		t.Fatal("the lease was not released")
	}
}

func TestHandoverIsTakenBackWhenTheCandidateDies(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	b.hold = true // the restore never ends
	b.step(Promote{Request: "p"})
	r.pass(15*time.Second, a, b)
	if a.app || r.head().Handover == nil || r.head().Handover.State != Handed {
		t.Fatalf("not handed over: app %v, %+v", a.app, r.head().Handover)
	}
	// The active's agent is restarted, and the application stays stopped.
	a = r.start("a", a.journal)
	r.pass(60*time.Second, a)
	if a.app {
		t.Fatal("the application was started while the head was handed over")
	}
	// b is dead: its lease goes stale.
	r.pass(30*time.Second, a)
	if h := r.head(); !a.app || h.Handover != nil || h.Epoch != 1 {
		t.Fatalf("not taken back: app %v, head %+v", a.app, h)
	}
}

func TestSwitchoverRightAfterATakeBack(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	b.hold = true
	b.step(Promote{Request: "p"})
	r.pass(15*time.Second, a, b)
	b = r.start("b", b.journal) // killed; it gives up and releases the lease
	for h := r.head(); h.Handover != nil; h = r.head() {
		r.pass(time.Second, a, b)
	}
	b.step(Promote{Request: "q"})
	r.pass(22*time.Second, a, b)
	if h := r.head(); b.answers["q"] != nil || h.Epoch != 2 || h.Active.Name != "b" {
		t.Fatalf("answer %v, head %+v", b.answers["q"], h)
	}
}

func TestOldLeaseIsNotObeyedAgain(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	b.hold = true
	b.step(Promote{Request: "p"})
	r.pass(3*time.Second, a, b)
	replay := *r.objects[LeaseKey].(*Lease)
	r.pass(12*time.Second, a, b)
	b.step(CancelPromotion{Request: "x"})
	b.hold = false
	for _, e := range b.held {
		b.step(Done{ID: workID(e), Outcome: Failed, Err: errors.New("cancelled")})
	}
	r.pass(30*time.Second, a, b)
	if !a.app || !a.m.Status().Leading {
		t.Fatalf("not taken back after the cancellation: %+v", a.m.Status())
	}
	r.put(LeaseKey, &replay)
	r.pass(30*time.Second, a)
	if !a.app || a.m.j.Handover != nil {
		t.Fatal("a replayed lease stopped the application")
	}
}

func workID(e Effect) uint64 {
	switch e := e.(type) {
	case Stage:
		return e.ID
	case Pull:
		return e.ID
	case Rollback:
		return e.ID
	case MakeBackup:
		return e.ID
	}
	return 0
}

func TestFailoverAndSalvage(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	b.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(90*time.Second, b) // a is dead
	if h := r.head(); h.Epoch != 2 || !b.app {
		t.Fatalf("head %+v, app %v", h, b.app)
	}
	a = r.start("a", a.journal)
	r.pass(30*time.Second, a, b)
	stopped := a.count(func(e Effect) bool { _, ok := e.(StopApp); return ok })
	started := a.count(func(e Effect) bool { _, ok := e.(StartApp); return ok })
	if stopped == 0 || started != 0 || a.m.Status().Role != RoleStandby {
		t.Fatalf("the old active: stopped %d times, started %d times, %+v", stopped, started, a.m.Status())
	}
	if got := r.salvages(); len(got) != 1 || got[0] == nil {
		t.Fatalf("salvaged: %v", got)
	}
	if _, ok := r.objects[AckKey(2, a.m.p.Self)]; !ok {
		t.Fatal("no acknowledgement")
	}
}

func TestOwedSalvageBlocksPromotionUnlessWaived(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	b.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(90*time.Second, b)
	r.fail = func(_ *instance, e Effect) (Done, bool) {
		s, ok := e.(MakeSalvage)
		return Done{ID: s.ID, Outcome: Failed, Err: errors.New("the database is down")}, ok
	}
	a = r.start("a", a.journal)
	r.pass(30*time.Second, a, b)
	a.step(Promote{Request: "back", Mode: ModeFailover})
	wantRefusal(t, a.answers["back"], "owes a salvage backup")
	a.step(Promote{Request: "waived", Mode: ModeFailover, WaiveSalvage: true})
	r.pass(90*time.Second, a)
	if h := r.head(); h.Epoch != 3 || h.Active.Name != "a" {
		t.Fatalf("head %+v", h)
	}
}

func TestUnknownCommitIsResolvedNotAssumed(t *testing.T) {
	for _, landed := range []bool{true, false} {
		t.Run(fmt.Sprint("landed=", landed), func(t *testing.T) {
			r := newRig(t)
			a, b := r.active(), r.start("b", Journal{})
			r.pass(20*time.Second, a, b)
			lost := 0
			r.fail = func(n *instance, e Effect) (Done, bool) {
				w, ok := e.(Write)
				if n != b || !ok || w.Key != HeadKey || lost == 3 {
					return Done{}, false
				}
				lost++
				if landed && lost == 1 {
					r.put(HeadKey, w.Object)
				}
				return Done{ID: w.ID, Outcome: Unknown, Err: errors.New("reset")}, true
			}
			b.step(Promote{Request: "p", Mode: ModeFailover})
			for range 100 {
				if p := b.m.j.Pending; p != nil && p.Commit {
					if b.app || b.count(func(e Effect) bool { _, ok := e.(Rollback); return ok }) > 0 {
						t.Fatal("something was started or rolled back before the commit was resolved")
					}
				}
				r.pass(time.Second, b)
			}
			if h := r.head(); h.Epoch != 2 || !b.app || b.answers["p"] != nil || !b.done["p"] {
				t.Fatalf("head %+v, app %v, answer %v", h, b.app, b.answers["p"])
			}
		})
	}
}

func TestTwoPromotionsAtOnce(t *testing.T) {
	r := newRig(t)
	a, b, c := r.active(), r.start("b", Journal{}), r.start("c", Journal{})
	r.pass(20*time.Second, a, b, c)
	b.hold = true
	b.step(Promote{Request: "p", Mode: ModeFailover})
	c.step(Promote{Request: "q", Mode: ModeFailover})
	wantRefusal(t, c.answers["q"], "b holds the promotion lease")
	b.step(Promote{Request: "again", Mode: ModeFailover})
	wantRefusal(t, b.answers["again"], "under way here already")
	a.step(Promote{Request: "self"})
	wantRefusal(t, a.answers["self"], "is the active already")
}

func TestSwitchoverWithASilentActiveNamesFailover(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	r.pass(80*time.Second, b)
	b.step(Promote{Request: "p"})
	wantRefusal(t, b.answers["p"], "--failover")
}

func TestNewerBackupThanShownIsRefused(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	shown := *r.head().Newest
	a.step(RequestBackup{Request: "r"})
	r.pass(20*time.Second, a, b)
	b.step(Promote{Request: "p", Mode: ModeFailover, Shown: &shown})
	wantRefusal(t, b.answers["p"], "newer backup")
}

func TestRequestsDuringABackupShareOneMore(t *testing.T) {
	r := newRig(t)
	a := r.active()
	before := a.count(isBackup)
	a.hold = true
	for _, id := range []string{"1", "2", "3"} {
		a.step(RequestBackup{Request: id, Trigger: backup.Task})
	}
	if got := a.count(isBackup) - before; got != 1 {
		t.Fatalf("%d backups at once", got)
	}
	a.hold = false
	d, _ := a.work(a.held[0])
	a.step(d)
	if got := a.count(isBackup) - before; got != 2 {
		t.Fatalf("%d backups for three requests, want 2", got)
	}
	for _, id := range []string{"1", "2", "3"} {
		if !a.done[id] || a.answers[id] != nil {
			t.Fatalf("request %s: done %v, %v", id, a.done[id], a.answers[id])
		}
	}
}

func TestStrictFencingStopsBeforeASuccessorMayStart(t *testing.T) {
	for _, mode := range []FencingMode{Available, Strict} {
		t.Run(string(mode), func(t *testing.T) {
			r := newRig(t)
			r.head().Fencing.Mode = mode
			a := r.active()
			r.pass(20*time.Second, a)
			r.fail = func(_ *instance, e Effect) (Done, bool) {
				switch e := e.(type) {
				case Read:
					return Done{ID: e.ID, Outcome: Unknown, Err: errors.New("cut")}, true
				case Write:
					return Done{ID: e.ID, Outcome: Unknown, Err: errors.New("cut")}, true
				}
				return Done{}, false
			}
			cut := r.now
			for a.app && r.now < cut+5*time.Minute {
				r.pass(time.Second, a)
			}
			// TTL - margin - stop time-out after the last renewal, which was at most a poll before.
			if stopped := r.now - cut; mode == Strict && stopped > 30*time.Second || mode == Available && !a.app {
				t.Fatalf("app %v after %v", a.app, stopped)
			}
			r.fail = nil
			r.pass(30*time.Second, a)
			if !a.app {
				t.Fatal("not started again when the bucket was back")
			}
		})
	}
}

func TestNotificationCostsOneRateLimitedPoll(t *testing.T) {
	r := newRig(t)
	r.active()
	b := r.start("b", Journal{})
	r.pass(5*time.Second, b)
	reads := func(e Effect) bool { _, ok := e.(Read); return ok }
	before := b.count(reads)
	for range 1000 {
		b.step(Notified{})
	}
	if got := b.count(reads) - before; got != 2 { // head and lease
		t.Fatalf("%d requests for 1000 notifications at one instant", got)
	}
}

func TestIdleClusterAsksLittle(t *testing.T) {
	r := newRig(t)
	a, b := r.active(), r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	a.step(SetPaused{Pause: &Pause{By: "test"}})
	requests := func(e Effect) bool {
		switch e.(type) {
		case Read, Write:
			return true
		}
		return false
	}
	before := [2]int{a.count(requests), b.count(requests)}
	r.pass(10*time.Minute, a, b)
	for i, n := range []*instance{a, b} {
		if got := n.count(requests) - before[i]; got > 3*61 {
			t.Errorf("%s: %d requests in 60 polls", n.name, got)
		}
	}
}

func TestShorterFrequencyBringsTheNextBackupForward(t *testing.T) {
	r := newRig(t)
	a := r.active()
	before := a.count(isBackup)
	r.pass(50*time.Second, a)
	a.step(UseConfig{Frequency: Duration(time.Minute)})
	r.pass(15*time.Second, a)
	if got := a.count(isBackup) - before; got != 1 {
		t.Fatalf("%d backups within 65 s at a frequency of one minute", got)
	}
}

func TestNothingIsSwappedUnderARunningApplication(t *testing.T) {
	r := newRig(t)
	a := r.active()
	r.fail = func(_ *instance, e Effect) (Done, bool) {
		s, ok := e.(StopApp)
		return Done{ID: s.ID, Outcome: Failed, Err: errors.New("it does not stop")}, ok
	}
	b := r.start("b", Journal{})
	r.pass(20*time.Second, a, b)
	b.step(Promote{Request: "p", Mode: ModeFailover})
	r.pass(20*time.Second, a, b)
	swaps := func(e Effect) bool { _, ok := e.(Swap); return ok }
	if last := b.m.Status().Last; b.count(swaps) != 0 || last == nil || last.Promoted || !strings.Contains(last.Error, "could not be stopped: it does not stop") {
		t.Fatalf("%d swaps, promotion %+v, result %+v", b.count(swaps), b.m.j.Promotion, last)
	}
	r.fail = nil
	b.step(Promote{Request: "again", Mode: ModeFailover})
	r.pass(90*time.Second, b)
	if n := b.count(swaps); n != 1 || r.head().Active.Name != "b" {
		t.Fatalf("%d swaps once it had stopped, head %+v", n, r.head())
	}
}

// TestTheApplicationIsStoppedBeforeEverySwap: what is believed of a standby's
// application says nothing, for somebody else may have started it.
func TestTheApplicationIsStoppedBeforeEverySwap(t *testing.T) {
	for _, mode := range []Mode{ModeSwitchover, ModeFailover} {
		for _, fails := range []bool{false, true} {
			r := newRig(t)
			a, b := r.active(), r.start("b", Journal{})
			r.pass(time.Minute, a, b)
			r.fail = func(_ *instance, e Effect) (Done, bool) {
				s, ok := e.(Swap)
				return Done{ID: s.ID, Outcome: Failed, Err: errors.New("somebody has it open")}, ok && fails
			}
			begun := len(b.seen)
			b.step(Promote{Request: "p", Mode: mode})
			r.pass(time.Minute, a, b)
			var order []string
			for _, e := range b.seen[begun:] {
				switch e.(type) {
				case StopApp:
					order = append(order, "stop")
				case Swap:
					order = append(order, "swap")
				case Rollback:
					order = append(order, "roll back")
				}
			}
			want := []string{"stop", "swap"}
			if fails {
				want = append(want, "stop", "roll back")
			}
			if !slices.Equal(order, want) {
				t.Errorf("%s, a swap fails %v: %q, want %q", mode, fails, order, want)
			}
		}
	}
}

// Hours of writes of which nobody knows what became leave a journal of a bounded
// size, over restarts too, and any of them is recognised when it lands late. A
// write is journalled before it is sent.
func TestHoursOfUnansweredWritesDoNotFillTheJournal(t *testing.T) {
	for _, lands := range []int{0, 40, 1500, -1} {
		r := newRig(t)
		a := r.active()
		r.pass(20*time.Second, a)
		var sent []any
		r.fail = func(n *instance, e Effect) (Done, bool) {
			w, ok := e.(Write)
			if !ok || w.Key != HeadKey {
				return Done{}, false
			}
			if p := n.journal.Pending; p == nil || !p.has(w.Object.(*Head).Nonce) {
				t.Errorf("attempt %d is not in the journal", len(sent))
			}
			sent = append(sent, w.Object)
			return Done{ID: w.ID, Outcome: Unknown, Err: errors.New("no answer")}, true
		}
		for i := range 8 * 3600 / 5 {
			r.pass(5*time.Second, a)
			if i%1000 == 999 {
				a = r.start("a", a.reread())
			}
			if data, _ := json.Marshal(a.journal); len(data) > 4<<10 {
				t.Fatalf("after %d attempts the journal has %d bytes", len(sent), len(data))
			}
		}
		if len(sent) < 2000 {
			t.Fatalf("only %d attempts", len(sent))
		}
		landed := -1
		if lands >= 0 {
			landed = lands
			r.put(HeadKey, sent[lands])
		}
		r.fail = nil
		r.pass(2*time.Minute, a)
		if s := a.m.Status(); !s.Leading || s.Refused != "" || a.journal.Pending != nil {
			t.Errorf("attempt %d landed: leading %t, refused %q, pending %+v", landed, s.Leading, s.Refused, a.journal.Pending)
		}
	}
}

// reread is the journal as the next process reads it.
func (n *instance) reread() (j Journal) {
	n.r.t.Helper()
	data, err := json.Marshal(n.journal)
	if err == nil {
		err = json.Unmarshal(data, &j)
	}
	if err != nil {
		n.r.t.Fatal(err)
	}
	return j
}

// A journal of an earlier version names each attempt. Another process's write is
// none of them, not even one under the same prefix and number while those are
// named.
func TestAttemptsAreToldApart(t *testing.T) {
	old := Pending{Nonces: []string{"n1", "n2"}}
	for range 3 * maxNamed {
		var a Attempts
		old.add(a.next(func() string { return "p" }))
	}
	if !old.has("n1") || !old.has("n2") || len(old.Nonces) != maxNamed || old.has("n3") {
		t.Errorf("%+v", old)
	}
	var p Pending
	var a Attempts
	n := 0
	random := func() string { n++; return fmt.Sprint(n) }
	var all []string
	for range 3 * maxNamed {
		all = append(all, a.next(random))
		p.add(all[len(all)-1])
	}
	for _, nonce := range all {
		if !p.has(nonce) {
			t.Errorf("%s is not known: %+v", nonce, p)
		}
	}
	for _, nonce := range []string{
		"", "1", "1-", "1--", "1-0-2", "1-x-2", "2-1-3", fmt.Sprintf("1-%d-other", a.Count), fmt.Sprintf("1-%d-other", a.Count+1), "1-1-2-3",
	} {
		if p.has(nonce) {
			t.Errorf("%q is taken for an attempt of %+v", nonce, p)
		}
	}
}

// A write that is known to have written nothing leaves no nonce behind, however
// long that goes on; one whose outcome is not known does, and is recognised when
// it lands late.
func TestAnOutageDoesNotFillTheJournal(t *testing.T) {
	for _, late := range []bool{false, true} {
		r := newRig(t)
		a := r.active()
		r.pass(20*time.Second, a)
		var unknown any
		r.fail = func(_ *instance, e Effect) (Done, bool) {
			w, ok := e.(Write)
			if !ok || w.Key != HeadKey {
				return Done{}, false
			}
			d := Done{ID: w.ID, Outcome: Failed, Err: errors.New("access denied")}
			if unknown == nil {
				unknown, d.Outcome = w.Object, Unknown
			}
			return d, true
		}
		for range 2000 {
			r.pass(time.Second, a)
			if p := a.journal.Pending; p != nil && len(p.Nonces) > 2 {
				t.Fatalf("%d nonces are in the journal", len(p.Nonces))
			}
		}
		if late {
			r.put(HeadKey, unknown)
		}
		r.fail = nil
		r.pass(2*time.Minute, a)
		if s := a.m.Status(); !s.Leading || s.Refused != "" || a.journal.Pending != nil {
			t.Errorf("late=%t: leading %t, refused %q, pending %+v", late, s.Leading, s.Refused, a.journal.Pending)
		}
	}
}
