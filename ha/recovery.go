package ha

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
)

// A bucket that was put back to an earlier state (a replica, a restored copy) shows
// an older head than instances have seen. Each of them holds still: whoever wrote
// that head over would take a stranger's word for the newest. An operator who knows
// that the newer state is gone for good has one instance begin an epoch above every
// one that was ever seen, on what the bucket has. That instance asks all others
// first, and none of them may see the newer head: then that bucket is still there,
// and two clusters would come of one. The active of the newest head that was ever
// seen goes on as the active, with all that it has.

// recoveryLane is how a cluster goes on from a bucket that was put back.
type recoveryLane struct {
	*core
	head     *headLane
	control  *controlLane
	identity *identityLane
	schedule *scheduleLane
	commit   *commitLane

	going     *recovering // nil: none is under way
	heirSince instant     // since when this heir knows that it is one; never: that was before this process
}

// Recovery says how a cluster went on from a bucket that was put back. It stays in
// the head, and in the marker of the epoch that it began.
type Recovery struct {
	Epoch    uint64      `json:"epoch"`            // that it began
	Nonce    string      `json:"nonce"`            // of the head that it wrote
	Shown    Position    `json:"shown"`            // the older head that the bucket showed, which it replaced
	Over     Position    `json:"over"`             // the newest head that anybody who was asked has seen
	Led      bool        `json:"led,omitempty"`    // an instance led on the older head, and goes on
	Holder   *Holder     `json:"holder,omitempty"` // who may run an application on the older head; nil: nobody else
	Instance string      `json:"instance"`         // on which it was asked for
	By       string      `json:"by"`
	Reason   string      `json:"reason,omitempty"`
	Newest   *backup.Ref `json:"newest,omitempty"`  // the newest backup that was ever seen
	Missing  uint64      `json:"missing"`           // how many backups the bucket lacks
	Unasked  []string    `json:"unasked,omitempty"` // instances that could not be asked, on By's word
	Lost     []string    `json:"lost,omitempty"`    // what else is lost, in sentences
	Time     time.Time   `json:"time"`
}

// after reports whether a head came after this very recovery.
func (h *Head) after(r *Recovery) bool {
	return h != nil && h.Recovery != nil && h.Recovery.Nonce == r.Nonce
}

// Sighting is what an instance says of the head.
type Sighting struct {
	Instance string    `json:"instance"`
	Shown    *Position `json:"shown,omitempty"`   // what its bucket shows it now; nil: it could not be asked
	Seen     Position  `json:"seen"`              // the highest that it has ever seen
	Head     *Head     `json:"head,omitempty"`    // that one, where it is known
	Leading  bool      `json:"leading,omitempty"` // on what its bucket shows it
	Error    string    `json:"error,omitempty"`   // why it could not be asked
}

// Recover asks to go on from a bucket that was put back. What it is based on was
// looked at by whoever asks: nothing of it is decided by this instance's own head.
type Recover struct {
	Request    string
	By, Reason string
	Shown      Position    // the older head that the operator was shown
	Epoch      uint64      // the highest epoch that anything in the bucket is of
	Newest     *backup.Ref // the newest backup that the bucket has whole; nil: the older head's
	Config     string      // the configuration from now on; "": the older head's
	Fencing    Fencing     // that it says
	Missing    uint64
	Unasked    []string
	Lost       []string
}

// Survey asks all instances what they see. Done carries OK with Sightings, or
// Failed.
type Survey struct{ ID uint64 }

func (Recover) event() {}
func (Survey) effect() {}

// RefuseRecovery says why a cluster must not go on from an older head; "": nothing
// is in the way. The older head is as it was when the operator was shown it, and as
// it is now: heartbeats of one that leads on it may have come since. The operator's
// word stands for those whom nobody can ask, and for nobody else.
func RefuseRecovery(shown, now Position, all []Sighting, unasked []string) string {
	var why []string
	for _, s := range all {
		switch {
		case s.Shown == nil && slices.Contains(unasked, s.Instance):
		case s.Shown == nil:
			why = append(why, fmt.Sprintf("%s cannot be asked (%s): start its agent and try again, or, if you know that it will never see the newer head again, say so with --without %s", s.Instance, s.Error, s.Instance))
		case now.before(*s.Shown):
			why = append(why, fmt.Sprintf("%s still sees a newer head in its bucket (epoch %d, rev %d; here it is epoch %d, rev %d): the newer state is not gone, and this host's bucket is another one", s.Instance, s.Shown.Epoch, s.Shown.Rev, now.Epoch, now.Rev))
		case s.Shown.before(shown), s.Shown.Rev == now.Rev && s.Shown.Nonce != now.Nonce:
			why = append(why, fmt.Sprintf("%s sees another head in its bucket (epoch %d, rev %d; here it is epoch %d, rev %d): its bucket is another one", s.Instance, s.Shown.Epoch, s.Shown.Rev, now.Epoch, now.Rev))
		}
	}
	return strings.Join(why, "; ")
}

// OlderHead is a head that the bucket shows, and that is older than one that this
// instance has seen.
type OlderHead struct {
	Head *Head // the older one
	Seen *Head // the newest that was seen, as far as it is known
}

// recovering is a recovery under way.
type recovering struct {
	Recover
	asked     bool // what all instances see is in sightings
	looked    bool // and the head was looked at since
	sightings []Sighting
	marked    bool     // the older head's epoch has its marker
	doubt     bool     // the head is to be looked at for what became of an attempt
	nonces    []string // of every attempt
}

func (rl *recoveryLane) request(ev Recover) {
	switch h := rl.head.olderOne().head; {
	case h == nil:
		rl.refuse(ev.Request, "the bucket shows no older head than this instance has seen: there is nothing to recover from")
	case rl.identity.frozen():
		rl.refuse(ev.Request, "%s", rl.j.Doubt)
	case rl.going != nil:
		rl.refuse(ev.Request, "this is under way here already")
	case ev.Shown.Epoch != h.Epoch || h.Position().before(ev.Shown):
		rl.refuse(ev.Request, "the bucket shows another head than the one that was looked at: look again")
	default:
		rl.going = &recovering{Recover: ev}
		rl.control.atOnce()
		rl.changed()
		rl.reportBy(ev.By, Warn, "recovery", "%s has the cluster go on from a bucket that was put back: every instance is asked what it sees", ev.By)
	}
}

// underWay reports whether a recovery is under way.
func (rl *recoveryLane) underWay() bool { return rl.going != nil }

// plan picks the next request of a recovery. The head is looked at after
// everybody was asked, and after every attempt to write it.
func (rl *recoveryLane) plan() {
	r := rl.going
	switch {
	case rl.head.fresh() != nil && rl.head.fresh().Recovery != nil && slices.Contains(r.nonces, rl.head.fresh().Recovery.Nonce):
		// Whoever leads writes the marker too, and whoever ends the epoch: this one is
		// for those who look before that.
		rl.control.write(stepMarker, KindMarker, MarkerKey(rl.head.fresh().Epoch), rl.commit.marker(rl.head.fresh()), blobstore.IfAbsent(), func(Done) { rl.end(nil) })
	case rl.head.fresh() != nil, rl.head.olderOne().head == nil, rl.head.olderOne().head.Epoch != r.Shown.Epoch:
		rl.end(&Refusal{Reason: "somebody else has written the head meanwhile: look again"})
	case r.doubt:
		r.doubt = false
		rl.head.read(nil)
	case !r.asked:
		rl.emit(Survey{ID: rl.control.ask(rl.surveyed)})
	case !r.looked:
		r.looked = true
		rl.head.read(nil)
	case rl.refused():
	case !r.marked && rl.head.olderOne().head.Epoch > 1:
		// As before a promotion's commit: the bucket may have been put back to before
		// this epoch's marker was written.
		rl.control.tell(stepMarker, KindMarker, MarkerKey(rl.head.olderOne().head.Epoch), rl.commit.marker(rl.head.olderOne().head), func() { r.marked = true })
	default:
		rl.write()
	}
}

// refused ends a recovery while somebody sees a newer head.
func (rl *recoveryLane) refused() bool {
	r := rl.going
	why := RefuseRecovery(r.Shown, rl.head.olderOne().head.Position(), r.sightings, r.Unasked)
	if why != "" {
		rl.end(&Refusal{Reason: why})
	}
	return why != ""
}

func (rl *recoveryLane) end(refused error) {
	r := rl.going
	rl.going = nil
	rl.changed()
	if refused != nil {
		rl.reportBy(r.By, Warn, "recovery", "the cluster does not go on from the bucket as it is: %v", refused)
	}
	rl.answer(r.Request, r.Newest, refused)
}

// surveyed takes in what all instances see.
func (rl *recoveryLane) surveyed(d Done) {
	r := rl.going
	if d.Outcome != OK {
		rl.end(fmt.Errorf("ask every instance what it sees: %w", d.Err))
		return
	}
	r.asked, r.sightings = true, d.Sightings
	rl.control.atOnce()
}

// write writes the head once, over the older one as it was last read. Where the
// outcome is not known, or a heartbeat came first, the next look at the head decides.
func (rl *recoveryLane) write() {
	r := rl.going
	h := rl.nextHead(rl.head.olderOne().head)
	r.nonces = append(r.nonces, h.Nonce)
	r.doubt, r.asked, r.looked = true, false, false // what they saw is old by the next attempt
	rl.control.write(stepHeadCommit, KindHead, HeadKey, h, blobstore.IfMatch(rl.head.olderOne().token), func(d Done) {
		if d.Outcome == Failed {
			rl.end(fmt.Errorf("write the head: %w", d.Err))
		}
	})
}

// nextHead is the head that begins an epoch above every one that was seen. One
// that leads on the older head goes on as the active; otherwise it is the active of
// the newest head that was seen.
func (rl *recoveryLane) nextHead(shown *Head) *Head {
	r, over := rl.going, rl.head.seen(shown)
	epoch, rev, led := max(r.Epoch, over.Epoch), over.Rev, false
	for _, s := range r.sightings {
		epoch, rev = max(epoch, s.Seen.Epoch), max(rev, s.Seen.Rev)
		if s.Head != nil && over.Position().before(s.Head.Position()) {
			over = s.Head
		}
		led = led || s.Leading && s.Instance == shown.Active.Name
	}
	h := *shown
	h.Format, h.Cluster = Format, rl.p.Cluster
	h.Epoch, h.Rev, h.Nonce, h.Time = epoch+1, max(rev, shown.Rev)+1, rl.random(), rl.now.Wall
	if !led {
		h.Active = over.Active
		h.Newest = cmp.Or(r.Newest, h.Newest)
	}
	h.StartedFrom, h.CutOff = h.Newest, nil
	if over.Newest != nil && !same(over.Newest, h.Newest) {
		h.CutOff = over.Newest
	}
	if r.Config != "" && !led {
		h.Config, h.Fencing = r.Config, r.Fencing
	}
	h.Handover, h.Stopped, h.Handed = nil, false, ""
	h.Streams, h.Ended = nil, nil // what is left of them nobody knows: new ones begin, with a backup
	h.Recovery = &Recovery{
		Holder: holder(shown, &h, r.sightings),
		Epoch:  h.Epoch, Nonce: h.Nonce, Shown: shown.Position(), Over: over.Position(), Instance: rl.p.Self.Name, By: r.By, Reason: r.Reason,
		Led: led, Newest: over.Newest, Missing: r.Missing, Unasked: r.Unasked, Lost: r.Lost, Time: h.Time,
	}
	return &h
}

// heir reports whether a head that a recovery wrote has this process go on as the
// active: the head that it replaced, or the newest that was ever seen, was this
// instance's own, and nobody has claimed the recovered one since.
func (rl *recoveryLane) heir(h *Head) bool {
	r, j := h.Recovery, &rl.j
	if r == nil || r.Nonce != h.Nonce || h.Active.Name != rl.p.Self.Name || j.Role != RoleActive || rl.identity.refusal() != "" {
		return false
	}
	own := func(p Position) bool { return p.Nonce == j.Last.Nonce || j.Pending != nil && j.Pending.has(p.Nonce) }
	return r.Led && own(r.Shown) || j.Epoch == r.Over.Epoch && (own(r.Over) || r.Over.before(j.Last))
}

// inheritOrJudge follows a commit that turned out to be the newest head that was
// ever seen.
func (rl *recoveryLane) inheritOrJudge() {
	rl.j.Last = rl.head.fresh().Recovery.Over
	rl.j.Pending = nil
	rl.save(stepSettled)
	rl.identity.judge()
}

// inherit makes this instance the active of the epoch that a recovery began. It
// claims the head before anything else, as after a start.
func (rl *recoveryLane) inherit(h *Head) {
	rl.j.Epoch, rl.j.Last, rl.j.Pending = h.Epoch, h.Position(), nil
	rl.j.Fencing = []Fencing{h.Fencing}
	rl.j.Handover, rl.j.Demotion, rl.j.Floor, rl.j.First = nil, nil, 0, true
	rl.identity.stepsBack()
	rl.j.Holder, rl.heirSince = h.Recovery.Holder, rl.t
	rl.schedule.drop(&Refusal{Reason: "the bucket was put back to an earlier state, and the cluster has gone on from it: ask again"})
	rl.save(stepSettled)
	rl.report(Alarm, "recovery", "the bucket was put back to an earlier state; %s has the cluster go on from it in epoch %d, and this instance goes on as the active", h.Recovery.By, h.Epoch)
	if w := rl.j.Holder; w != nil {
		rl.report(Warn, "recovery", "%s was the active before, and could not be asked: the application here waits until that on %s has stopped in any case", w.Name, w.Name)
	}
}
