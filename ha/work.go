package ha

// The work lane is whatever takes long: backups, pulls, restores. One thing is
// done at a time.
func (m *Machine) planWork() {
	if m.work != 0 {
		return
	}
	p, d := m.j.Promotion, m.j.Demotion
	switch {
	case p != nil && p.Phase != PhaseFinish:
		m.planRestore(p)
	case p != nil && !p.Discarded, d != nil && d.Discard:
		m.planDiscard()
	case d != nil && d.Acked && d.Known && !d.Made && m.planSalvage(d):
	case m.j.Role == RoleActive:
		if hj := m.j.Handover; hj != nil && hj.Phase == HandoverStopping && m.app == appStopped && m.publish == nil {
			m.finalBackup()
			return
		}
		m.planBackup()
	default:
		m.planPull()
	}
}

// begin starts a piece of work.
func (m *Machine) begin(label string, then func(Done)) {
	m.workLabel = label
	m.work = m.expect(then)
}

func (m *Machine) workOK() { m.workWait, m.workAt = 0, 0 }

// workFailed has the work lane wait before it tries again.
func (m *Machine) workFailed(what string, err error) {
	m.workWait = min(max(workRetry, 2*m.workWait), workRetryMax)
	m.workAt = m.t + m.workWait
	m.report(Alarm, what, "%s failed (tried again in %v): %s", what, m.workWait, errText(err))
}

// planPull brings the newest backup into the cache.
func (m *Machine) planPull() {
	h := m.knownHead()
	if h == nil || h.Newest == nil || h.Newest.ID == m.pulled || !m.due(m.workAt) {
		return
	}
	ref := *h.Newest
	m.begin("pull", func(d Done) {
		if d.Outcome != OK {
			m.pullErr = errText(d.Err)
			if m.j.Promotion == nil { // else it was cancelled to make way
				m.workFailed("pull", d.Err)
			}
			return
		}
		m.workOK()
		m.pulled, m.pullErr = ref.ID, ""
		m.report(Info, "pull", "backup %s is cached", ref.ID)
	})
	m.emit(Pull{ID: m.work, Ref: ref})
}
