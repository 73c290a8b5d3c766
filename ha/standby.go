package ha

// planStandby polls the head and the lease.
func (m *Machine) planStandby() {
	switch {
	case m.pollStep == 1:
		m.pollStep = 0
		m.readLease(func() {})
	case m.due(m.nextPoll):
		m.nextPoll = m.t + m.p.Poll
		m.pollStep = 1
		m.readHead(m.watchPromotion)
	}
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
