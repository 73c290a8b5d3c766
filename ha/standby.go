package ha

import "time"

// planStandby polls the head and the lease.
func (m *Machine) planStandby() {
	switch {
	case m.leaseIsNext():
		m.readLease(func() {})
	case m.pollDue():
		m.pollAt(m.t + m.p.Poll)
		m.lookAtLeaseNext()
		m.readHead(m.watchPromotion)
	}
}

// pollDue reports whether the bucket is to be looked at.
func (m *Machine) pollDue() bool { return m.due(m.nextPoll) }

// pollDueEvery is pollDue for one who looks at the head more often.
func (m *Machine) pollDueEvery(d time.Duration) bool { return m.due(min(m.nextPoll, m.lastPoll+d)) }

// pollAt has the bucket looked at then.
func (m *Machine) pollAt(t instant) { m.nextPoll = t }

// polled notes that the bucket is being looked at.
func (m *Machine) polled() { m.lastPoll = m.t }

// notified has the bucket looked at soon.
func (m *Machine) notified() { m.nextPoll = min(m.nextPoll, max(m.t, m.lastPoll+notifiedEvery)) }

// lookAtLeaseNext has the lease looked at after the head.
func (m *Machine) lookAtLeaseNext() { m.leaseNext = true }

// leaseIsNext reports, once, whether the lease is to be looked at.
func (m *Machine) leaseIsNext() bool {
	next := m.leaseNext
	m.leaseNext = false
	return next
}

// watchPromotion gives up a promotion early when the head shows that it cannot
// commit.
func (m *Machine) watchPromotion() {
	p := m.j.Promotion
	if m.frozen() || p == nil || p.Phase != PhaseRestore && p.Phase != PhaseSwap {
		return
	}
	if why := m.pinBroken(); why != "" {
		m.abort("%s", why)
	}
}

// silent reports whether the active has shown no sign of life for so long that
// its lease on the head is over.
func (m *Machine) silent() bool { return m.t-m.headSince >= m.silentAfter() }
