package ha

import (
	"slices"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
)

// writingLane is the writes of the head by an active, and what becomes of them.
type writingLane struct {
	*core
	head     *headLane
	control  *controlLane
	identity *identityLane
	app      *appLane
	schedule *scheduleLane
	commit   *commitLane
	handover *handoverLane
	recovery *recoveryLane
	farewell *farewellLane
	poll     *pollLane
	streams  *streamsLane

	sentAt    instant  // when the first unresolved attempt to write the head was sent
	attempts  Attempts // to write the head, of this process's, for what is pending
	confirmed instant  // when the last confirmed write of the head was sent, by a process before this one perhaps
	dated     bool     // confirmed is known, or known to be too long ago
}

// isDated reports whether it is known how old the last renewal is.
func (wl *writingLane) isDated() bool { return wl.dated }

// heartbeatDue reports whether the active's heartbeat is due: a new head that
// also proves that this instance is still the active.
func (wl *writingLane) heartbeatDue() bool {
	if wl.j.Role != RoleActive || !wl.identity.isLeading() || wl.identity.refusal() != "" || !wl.poll.isDue() {
		return false
	}
	wl.poll.lookAtLeaseNext()
	return true
}

// next is the head as the active wants it to be now.
func (wl *writingLane) next() *Head {
	h := *wl.head.fresh()
	if ref := wl.schedule.unpublished(); ref != nil {
		h.Newest = ref
	}
	if c := wl.schedule.newConfig(); c != nil {
		h.Config, h.Fencing = c.Digest, c.Fencing
	}
	if hj := wl.j.Handover; hj.isReady() {
		h.Newest = hj.Final
	}
	h.Streams = wl.streams.next(wl.head.fresh(), h.Newest)
	h.Handover = wl.handover.said()
	h.Stopped = wl.farewell.says()
	return &h
}

// says names what the active's next head is the first to say.
func (wl *writingLane) says() WriteStep {
	said := wl.handover.said()
	switch {
	case wl.handover.unsaid() && said == nil:
		return stepHeadReturned
	case wl.handover.unsaid():
		return WriteStep("head." + said.State)
	case wl.schedule.unpublished() != nil:
		return stepHeadPublish
	case wl.schedule.newConfig() != nil:
		return stepHeadConfig
	case wl.streams.unsaid():
		return stepHeadStreams
	case !wl.identity.isLeading():
		return stepHeadClaim
	}
	return stepHeadRenew
}

// date journals when the head that was confirmed last was sent. The
// caller saves.
func (wl *writingLane) date() {
	wl.confirmed, wl.dated = wl.sentAt, true
	wl.j.Renewed = &Renewal{Boot: wl.p.Boot, At: Duration(wl.now.Boot - (wl.t - wl.sentAt))}
}

// recover takes up how old the last renewal of the process before is: a
// bound that has passed while no agent ran holds at once, whether or not the
// bucket answers. After a reboot nobody knows for how long the host was down, so
// it has passed.
func (wl *writingLane) recover() {
	r := wl.j.Renewed
	if r == nil {
		return // by a version that did not note it
	}
	wl.dated, wl.confirmed = true, longAgo
	if age := wl.now.Boot - r.At.std(); r.Boot == wl.p.Boot && r.Boot != "" && age >= 0 {
		wl.confirmed = wl.t - age
	}
}

// fenceAt is when, in strict mode, an application must be stopping unless the
// head is renewed before. While a change of the fencing is pending, a successor
// may go by the one or by the other: the stricter bound holds.
func (wl *writingLane) fenceAt() (at instant, strict bool) {
	for _, f := range wl.fencings() {
		if f.Mode != Strict {
			continue
		}
		if one := wl.confirmed + (f.TTL - f.Margin - f.StopTimeout).std(); !strict || one < at {
			at, strict = one, true
		}
	}
	return at, strict
}

// fencings are those that may be in force of this active.
func (wl *writingLane) fencings() []Fencing {
	if len(wl.j.Fencing) > 0 {
		return wl.j.Fencing
	}
	return []Fencing{wl.head.fencing()}
}

// write sends the head as this instance wants it to be. Every attempt is
// journalled first, with the version that it replaces and its nonce.
func (wl *writingLane) write() {
	commit := wl.j.Promotion != nil && wl.j.Promotion.Phase == PhaseCommit
	if !commit && (wl.handover.unseen() || wl.control.looksFor(wl.unnamed(), wl.unnamedLost)) {
		return
	}
	var (
		h    *Head
		step WriteStep
		why  JournalStep
	)
	if commit {
		h, step, why = wl.commit.nextHead(), stepHeadCommit, stepCommit
	} else {
		h, step, why = wl.next(), wl.says(), stepHead
	}
	h.Format, h.Cluster = Format, wl.p.Cluster
	h.Rev = wl.head.fresh().Rev + 1
	h.Active = wl.p.Self
	h.Time = wl.now.Wall
	if wl.j.Pending == nil {
		wl.j.Pending = &Pending{Token: string(wl.head.token()), Commit: commit}
		wl.sentAt, wl.attempts = wl.t, Attempts{}
	}
	h.Nonce = wl.attempts.next(wl.random)
	wl.j.Pending.add(h.Nonce)
	wl.j.sayFencing(wl.head.fresh().Fencing, h.Fencing)
	if hj := wl.j.Handover; hj != nil && h.Handover != nil && h.Handover.State == Handed {
		if hj.Phase != HandoverSent {
			hj.Phase = HandoverSent
			wl.passes(hj.Phase.step())
		}
	}
	wl.save(why)
	wl.poll.looked()
	wl.control.write(step, KindHead, HeadKey, h, blobstore.IfMatch(wl.head.token()), func(d Done) {
		switch d.Outcome {
		case OK:
			wl.head.wrote(h, d.Token)
			wl.settle()
		case Lost:
			wl.head.forget() // somebody replaced it, perhaps an earlier attempt of ours: read and compare nonces
		case Failed:
			wl.forgetAttempt(h.Nonce)
			wl.lookForMarker()
		default:
			wl.lookForMarker()
		}
	})
}

// forgetAttempt drops the nonce of an attempt that has written nothing, and never
// will. So an outage in which nothing reaches the store, or access is denied,
// does not fill the journal, however long it is. Those whose outcome is not
// known stay: each may yet land.
func (wl *writingLane) forgetAttempt(nonce string) {
	p := wl.j.Pending
	if p == nil {
		return
	}
	p.Nonces = slices.DeleteFunc(slices.Clone(p.Nonces), func(n string) bool { return n == nonce })
	if len(p.Nonces) == 0 && len(p.Earlier) == 0 {
		wl.j.Pending = nil
	}
}

// resolve finds out what became of writes whose outcome is unknown. While the
// version that they replace is still there, the first may yet land; so another
// is written against it, until it has been replaced. Then the nonce decides.
func (wl *writingLane) resolve() {
	switch p := wl.j.Pending; {
	case p.has(wl.head.fresh().Nonce):
		wl.settle()
	case string(wl.head.token()) == p.Token:
		wl.write()
	case p.Commit && wl.head.fresh().Recovery != nil && p.has(wl.head.fresh().Recovery.Over.Nonce):
		// It had landed before the bucket was put back: the newest head ever seen.
		wl.commit.committed(wl.j.Promotion.Epoch + 1)
		wl.recovery.inheritOrJudge()
	case wl.recovery.heir(wl.head.fresh()):
		wl.recovery.inherit(wl.head.fresh())
	case p.Commit && wl.head.fresh().Epoch > wl.j.Promotion.Epoch+1:
		wl.commit.lookBack()
	default:
		wl.j.Pending = nil
		wl.save(stepSettled)
		if p.Commit {
			wl.commit.lost()
		}
		wl.identity.judge()
	}
}

// settle takes in that the present head is one of this instance's own.
func (wl *writingLane) settle() {
	p := wl.j.Pending
	mine := wl.head.fresh().Active.Incarnation == wl.p.Self.Incarnation
	wl.j.Pending = nil
	pos := Position{wl.head.fresh().Epoch, wl.head.fresh().Rev, wl.head.fresh().Nonce}
	wl.j.Last, wl.j.Seen, wl.j.SeenHead = pos, pos, wl.head.fresh()
	wl.j.Fencing = []Fencing{wl.head.fresh().Fencing}
	wl.j.Demotion = nil // of a process that was refused: it is the true one after all
	wl.head.usable()
	if p != nil && p.Commit {
		wl.commit.committed(wl.head.fresh().Epoch)
	}
	if mine {
		wl.date()
	}
	wl.save(stepSettled)
	if !mine {
		return // a write of the process before this one: claim it first
	}
	if !wl.identity.isLeading() {
		wl.identity.leads()
		wl.app.endOverride()
		wl.schedule.backupNow()
		wl.report(Info, "role", "active in epoch %d", wl.head.fresh().Epoch)
	}
	wl.poll.setNext(wl.confirmed + wl.p.Poll)
	wl.followUp()
}

// followUp follows up on what the confirmed head says.
func (wl *writingLane) followUp() {
	h := wl.head.fresh()
	wl.schedule.headNames(h)
	wl.handover.confirmed()
	wl.streams.confirmed(h, wl.t-wl.confirmed)
}

// lookForMarker reads the marker of the next epoch when the head could not be
// written: it may be readable where the head is not writable.
func (wl *writingLane) lookForMarker() {
	if wl.j.Role != RoleActive || wl.j.Demotion != nil || wl.j.Doubt != "" {
		return
	}
	id := wl.control.ask(func(d Done) {
		// That the marker can be read does not mean that the head can be written:
		// the next attempt waits all the same.
		switch d.Outcome {
		case Unknown:
			wl.control.failed(d.Err)
		case OK:
			mk := d.Object.(*Marker)
			if mk.Recovery != nil && mk.Active.Name == wl.p.Self.Name {
				wl.head.forget() // the head says whether this instance goes on as the active
				return
			}
			h := &Head{Epoch: mk.Epoch, Active: mk.Active, Newest: mk.Restored, StartedFrom: mk.Restored, CutOff: mk.CutOff}
			if hj := wl.j.Handover; hj != nil && mk.Mode == ModeSwitchover && (same(hj.Final, mk.Restored) || same(hj.Final, mk.CutOff)) {
				h.Handed = hj.Lease
			}
			if wl.j.Seen.Epoch < h.Epoch { // no head of before is taken for the newest any more
				wl.j.Seen, wl.j.SeenHead = Position{Epoch: h.Epoch}, nil
			}
			wl.identity.deposed(h)
			wl.head.forget()
		}
	})
	wl.emit(Read{ID: id, Kind: KindMarker, Key: MarkerKey(wl.j.Epoch + 1)})
}

// unnamed is the backup that the active's next head is the first to name; nil: there
// is none.
func (wl *writingLane) unnamed() *backup.Ref {
	ref := wl.schedule.unpublished()
	if hj := wl.j.Handover; hj.isReady() {
		ref = hj.Final
	}
	if same(ref, wl.head.fresh().Newest) {
		return nil
	}
	return ref
}

// unnamedLost forgets a backup that the bucket has lost, so that it is made again.
func (wl *writingLane) unnamedLost() {
	if !wl.handover.finalLost() {
		wl.schedule.makeAgain()
	}
}
