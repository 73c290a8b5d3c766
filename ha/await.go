package ha

import "time"

// After the commit of a failover the old active may not know of it yet, and run
// its application on. The successor's is started once that has stopped, or after
// as long as the fencing mode asks for. That is nearly the whole downtime of a
// failover: so it is said for what and for how long, and there is no wait where
// it is known that nothing runs.

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
func (m *Machine) ackUntil(alive bool, replaced, since instant) instant {
	f := m.oldFencing()
	switch {
	case f.Mode == Strict:
		return replaced + f.TTL.std() + f.Margin.std()
	case alive:
		return since + 2*m.p.Poll + f.StopTimeout.std()
	}
	return since
}

// replaces notes since when the version that a commit is about to replace was seen.
func (m *Machine) replaces() { m.replaced = m.headSince }

// waitsSince notes that the wait for the old active begins.
func (m *Machine) waitsSince() { m.ackSince = m.t }

// awaitAck waits for the old active to say that its application has stopped.
// With strict fencing nothing but that, or the time after which it has stopped
// in any case, lets the application start. Otherwise the wait is bounded, and
// there is none for an active that showed no sign of life, or whose host is off
// on an operator's word.
func (m *Machine) awaitAck(p *Promotion) bool {
	if m.onWord(p) {
		m.acked("not waited for: its host is off, says " + p.By)
		return false
	}
	if m.due(m.ackUntil(p.OldAlive, m.replaced, m.ackSince)) {
		m.unacked(p)
		return false
	}
	if p.OldUnstopped || !m.due(m.finishRead) {
		return false // it has said all that it has to say
	}
	m.finishRead = m.t + handoverPoll
	m.readAck(p, AckKey(m.j.Epoch, p.Old), func() {
		m.readAck(p, OldAckKey(m.j.Epoch, p.Old.Name), func() {})
	})
	return true
}

// onWord reports whether an operator's word spares the wait.
func (m *Machine) onWord(p *Promotion) bool { return p.HostIsOff && m.oldFencing().Mode != Strict }

// oldFencing is what the old active goes by, whatever this instance has put into force
// since it has committed.
func (m *Machine) oldFencing() Fencing {
	if p := m.j.Promotion; p != nil && p.Phase == PhaseFinish && p.Fencing != nil {
		return *p.Fencing
	}
	return m.fencing()
}

// readAck looks for the acknowledgement at one key.
func (m *Machine) readAck(p *Promotion, key string, missing func()) {
	m.read(KindAck, key, "", func(d Done) {
		switch {
		case d.Outcome == Missing:
			missing()
		// A copy of the old active's host has its name, and knows nothing of the
		// application on the original.
		case d.Outcome == OK && d.Object.(*Ack).Instance.Incarnation == p.Old.Incarnation:
			m.heard(p, d.Object.(*Ack))
		}
	})
}

func (m *Machine) acked(note string) {
	if p := m.j.Promotion; p != nil && !p.Acked {
		p.Acked = true
		m.step("old active", note)
		m.save(stepPromotionAcked)
	}
}

// waitsFor says what a promotion or a handover on this instance waits for; nil
// when it waits for nothing but work of its own.
func (m *Machine) waitsFor() *Wait {
	p := m.j.Promotion
	switch {
	case m.handingOver():
		if h := m.handoverSaid(); h != nil && h.Waits != "" {
			return &Wait{For: h.Waits, Left: leftOf(h, 0)}
		}
	case p == nil:
	case p.Phase == PhaseRollback && m.rollbackErr != "":
		return &Wait{For: "everything to be as before: " + m.workError(), Left: -1}
	case p.Phase == PhaseHandover:
		if h := m.knownHead(); h != nil && h.Handover != nil && h.Handover.Lease == p.ID && h.Handover.Waits != "" {
			return &Wait{For: h.Active.Name + ", which waits for " + h.Handover.Waits, Left: leftOf(h.Handover, m.t-m.headSince)}
		}
		return &Wait{For: p.Old.Name + " to answer", Left: max(0, m.stepSince+m.patience()-m.t)}
	case p.Phase == PhaseFinish && !p.Acked && m.leading && !m.onWord(p):
		w := m.ackWait(p.Old.Name)
		if p.OldUnstopped {
			w.For = "the application on " + p.Old.Name + ", which nothing there can stop: if it still runs, stop it by hand"
		}
		w.Left = max(0, m.ackUntil(p.OldAlive, m.replaced, m.ackSince)-m.t)
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

// ackWait describes the wait of a failover.
func (m *Machine) ackWait(old string) *Wait {
	if m.oldFencing().Mode == Strict {
		return &Wait{For: "the application on " + old + " to stop, as strict fencing has it: until it says so, or has stopped by itself"}
	}
	return &Wait{For: old + " to say that its application has stopped", Word: true}
}

// failoverWait is how long a failover that began now would wait for the active
// once it has committed; nil when it would not.
func (m *Machine) failoverWait() *Wait {
	h := m.knownHead()
	if m.j.Role != RoleStandby || h == nil || h.AtRest() {
		return nil
	}
	left := m.ackUntil(m.alive && !m.silent(), m.headSince, m.t) - m.t
	if left <= 0 {
		return nil
	}
	w := m.ackWait(h.Active.Name)
	w.Left = left
	return w
}
