package ha

import "time"

// After the commit of a failover the old active may not know of it yet, and run
// its application on. The successor's is started once that has stopped, or after
// as long as the fencing mode asks for. That is nearly the whole downtime of a
// failover: so it is said for what and for how long, and there is no wait where
// it is known that nothing runs.

// waitLane is the wait for the old active after a commit.
type waitLane struct {
	*core
	head      *headLane
	control   *controlLane
	identity  *identityLane
	restore   *restoreLane
	promotion *promotionLane
	handover  *handoverLane

	since    instant
	readAt   instant
	replaced instant // when the version that the commit replaces was first seen
}

// Wait is a wait that ends by itself.
type Wait struct {
	For  string        // what is waited for
	Left time.Duration // for how much longer, at most; negative: not known
	Word bool          // an operator's word that the host is off ends it
}

// RefuseHostIsOff says why the word that a host is off is not taken; "" when it
// is. With strict fencing no application is started on somebody's word.
func RefuseHostIsOff(mode Mode, fencing FencingMode) string {
	switch {
	case mode != ModeFailover:
		return "that the old active's host is off goes with a failover: a switchover needs its help"
	case fencing == Strict:
		return "the fencing is strict: the application starts when the old one has said that it has stopped, or when it has stopped by itself, and on nobody's word; wait, or set the fencing to available first, on an active"
	}
	return ""
}

// ackWait is how long after its commit a failover waits for the old active, at
// most. replaced is when the version that the commit replaces was first seen,
// since when the commit happened, both on this instance's time line.
func (wl *waitLane) until(alive bool, replaced, since instant) instant {
	f := wl.oldFencing()
	switch {
	case f.Mode == Strict:
		return replaced + f.TTL.std() + f.Margin.std()
	case alive:
		return since + 2*wl.p.Poll + f.StopTimeout.std()
	}
	return since
}

// replaces notes since when the version that a commit is about to replace was seen.
func (wl *waitLane) replaces() { wl.replaced = wl.head.unchangedSince() }

// begins notes that the wait for the old active begins.
func (wl *waitLane) begins() { wl.since = wl.t }

// plan waits for the old active to say that its application has stopped.
// With strict fencing nothing but that, or the time after which it has stopped
// in any case, lets the application start. Otherwise the wait is bounded, and
// there is none for an active that showed no sign of life, or whose host is off
// on an operator's word.
func (wl *waitLane) plan(p *Promotion) bool {
	if wl.onWord(p) {
		wl.acked("not waited for: its host is off, says " + p.By)
		return false
	}
	if wl.due(wl.until(p.OldAlive, wl.replaced, wl.since)) {
		wl.unacked(p)
		return false
	}
	if p.OldUnstopped || !wl.due(wl.readAt) {
		return false // it has said all that it has to say
	}
	wl.readAt = wl.t + handoverPoll
	wl.read(p, AckKey(wl.j.Epoch, p.Old), func() {
		wl.read(p, OldAckKey(wl.j.Epoch, p.Old.Name), func() {})
	})
	return true
}

// onWord reports whether an operator's word spares the wait.
func (wl *waitLane) onWord(p *Promotion) bool { return p.HostIsOff && wl.oldFencing().Mode != Strict }

// oldFencing is what the old active goes by, whatever this instance has put into force
// since it has committed.
func (wl *waitLane) oldFencing() Fencing {
	if p := wl.j.Promotion; p != nil && p.Phase == PhaseFinish && p.Fencing != nil {
		return *p.Fencing
	}
	return wl.head.fencing()
}

// read looks for the acknowledgement at one key.
func (wl *waitLane) read(p *Promotion, key string, missing func()) {
	wl.control.read(KindAck, key, "", func(d Done) {
		switch {
		case d.Outcome == Missing:
			missing()
		// A copy of the old active's host has its name, and knows nothing of the
		// application on the original.
		case d.Outcome == OK && d.Object.(*Ack).Instance.Incarnation == p.Old.Incarnation:
			wl.heard(p, d.Object.(*Ack))
		}
	})
}

func (wl *waitLane) acked(note string) {
	if p := wl.j.Promotion; p != nil && !p.Acked {
		p.Acked = true
		wl.promotion.step("old active", note)
		wl.save(stepPromotionAcked)
	}
}

// forWhom says what a promotion or a handover on this instance waits for; nil
// when it waits for nothing but work of its own.
func (wl *waitLane) forWhom() *Wait {
	p := wl.j.Promotion
	switch {
	case wl.handover.underWay():
		if h := wl.handover.said(); h != nil && h.Waits != "" {
			return &Wait{For: h.Waits, Left: leftOf(h, 0)}
		}
	case p == nil:
	case p.Phase == PhaseRollback && wl.restore.rollbackTrouble() != "":
		return &Wait{For: "everything to be as before: " + wl.restore.trouble(), Left: -1}
	case p.Phase == PhaseHandover:
		if h := wl.head.known(); h != nil && h.Handover != nil && h.Handover.Lease == p.ID && h.Handover.Waits != "" {
			return &Wait{For: h.Active.Name + ", which waits for " + h.Handover.Waits, Left: leftOf(h.Handover, wl.t-wl.head.unchangedSince())}
		}
		return &Wait{For: p.Old.Name + " to answer", Left: max(0, wl.promotion.stepBegan()+wl.promotion.patience()-wl.t)}
	case p.Phase == PhaseFinish && !p.Acked && wl.identity.isLeading() && !wl.onWord(p):
		w := wl.describe(p.Old.Name)
		if p.OldUnstopped {
			w.For = "the application on " + p.Old.Name + ", which nothing there can stop: if it still runs, stop it by hand"
		}
		w.Left = max(0, wl.until(p.OldAlive, wl.replaced, wl.since)-wl.t)
		return w
	}
	return nil
}

// leftOf is for how much longer the active waits, some time after it said so.
func leftOf(h *Handover, later time.Duration) time.Duration {
	if h.Left == 0 {
		return -1
	}
	return max(0, h.Left.std()-later)
}

// describe describes the wait of a failover.
func (wl *waitLane) describe(old string) *Wait {
	if wl.oldFencing().Mode == Strict {
		return &Wait{For: "the application on " + old + " to stop, as strict fencing has it: until it says so, or has stopped by itself"}
	}
	return &Wait{For: old + " to say that its application has stopped", Word: true}
}

// ofFailover is how long a failover that began now would wait for the active
// once it has committed; nil when it would not.
func (wl *waitLane) ofFailover() *Wait {
	h := wl.head.known()
	if wl.j.Role != RoleStandby || h == nil || h.AtRest() {
		return nil
	}
	left := wl.until(wl.head.wasAlive() && !wl.head.silent(), wl.head.unchangedSince(), wl.t) - wl.t
	if left <= 0 {
		return nil
	}
	w := wl.describe(h.Active.Name)
	w.Left = left
	return w
}
