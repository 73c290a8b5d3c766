package ha

// What is due next, where more than one lane may have it.

// planControl picks the next request to the store.
func (m *Machine) planControl() {
	if !m.control.mayAsk() {
		return
	}
	m.streams.planRead()
	switch {
	case m.recovery.underWay():
		m.recovery.plan()
	case m.head.fresh() == nil:
		m.head.read(nil)
	case m.identity.frozen():
		m.planFrozen()
	case m.j.Pending != nil:
		m.writing.resolve()
	case m.writing.heartbeatDue():
		m.writing.write()
	case m.demotion.planUntold():
	case m.identity.planMissed():
	case m.promotion.plan():
	case m.demotion.plan():
	case m.j.Role == RoleActive && m.identity.refusal() == "":
		m.planActive()
	default:
		m.planStandby()
	}
}

// planActive picks the active's next request: claim the head, say in the head
// what is not said yet, and after each renewal look at the lease.
func (m *Machine) planActive() {
	switch {
	case !m.identity.isLeading(), m.schedule.unpublished() != nil, m.schedule.newConfig() != nil, m.handover.unsaid(), m.farewell.unsaid(), m.streams.unsaid():
		m.writing.write()
	case m.j.Epoch > 1 && m.j.Marked < m.j.Epoch:
		m.commit.writeMarker()
	case m.poll.leaseIsNext():
		m.lease.read(m.handover.lookAtLease)
	case m.streams.planLook():
	}
}

// planFrozen keeps what a refused instance has, and looks at the head.
func (m *Machine) planFrozen() {
	switch {
	case m.demotion.planUntold():
	case !m.j.Promotion.swapping() && m.identity.planMissed():
	default:
		m.planStandby()
	}
}

// planStandby polls the head and the lease.
func (m *Machine) planStandby() {
	switch {
	case m.poll.leaseIsNext():
		m.lease.read(func() {})
	case m.poll.isDue():
		m.poll.setNext(m.t + m.p.Poll)
		m.poll.lookAtLeaseNext()
		m.head.read(m.promotion.watch)
	}
}

// planWork picks what takes long and is to be done next.
func (m *Machine) planWork() {
	if m.farewell.isLeaving() || m.rejoin.plan() || m.work.busy() || m.pull.busy() {
		return
	}
	p, d := m.j.Promotion, m.j.Demotion
	switch {
	case m.restore.discardDue():
		m.restore.planDiscard()
	case m.sources.mayChange():
		m.sources.change()
	case p != nil && p.Phase == PhaseEnd && !m.identity.frozen():
		m.promotion.planEnd()
	case p != nil && p.Phase != PhaseFinish && !m.identity.frozen():
		m.restore.plan(p)
	case d != nil && d.Acked && d.Known && !d.Made && m.demotion.planSalvage(d):
	case m.j.Role == RoleActive && m.identity.refusal() != "":
	case m.j.Role == RoleActive:
		if hj := m.j.Handover; hj != nil && hj.Phase == HandoverStopping && m.app.is(appStopped) && m.schedule.unpublished() == nil {
			m.handover.finalBackup()
			return
		}
		if m.handover.mustCloseStreams() {
			m.handover.closeStreams()
			return
		}
		m.schedule.plan()
	case m.identity.refusal() == "" && !m.pull.misses() && !m.rejoin.isToCome():
		m.rehearsal.plan()
	}
}
