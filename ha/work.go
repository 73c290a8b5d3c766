package ha

// The work lane is whatever takes long: backups, pulls, restores. One thing is
// done at a time.
func (m *Machine) planWork() {
	if m.work != 0 {
		return
	}
	p, d := m.j.Promotion, m.j.Demotion
	switch {
	case m.reload != "" && p == nil && d == nil && m.j.Handover == nil:
		m.changeSources()
	case p != nil && p.Phase != PhaseFinish:
		m.planRestore(p)
	case p != nil && !p.Discarded:
		if m.app == appRunning || m.appErr != "" { // nothing comes before the application
			m.planDiscard()
		}
	case d != nil && d.Discard:
		m.planDiscard()
	case d != nil && d.Acked && d.Known && !d.Made && m.planSalvage(d):
	case m.j.Role == RoleActive:
		if hj := m.j.Handover; hj != nil && hj.Phase == HandoverStopping && m.app == appStopped && m.publish == nil {
			m.finalBackup()
			return
		}
		m.planBackup()
	case !m.planPull():
		m.planRehearsal()
	}
}

// begin starts a piece of work.
func (m *Machine) begin(label string, then func(Done)) {
	m.workLabel, m.yielding = label, false
	m.work = m.expect(then)
}

// yield has the work under way end soon.
func (m *Machine) yield() {
	if m.work != 0 {
		m.yielding = true
		m.emit(Cancel{ID: m.work})
	}
}

func (m *Machine) workOK() { m.workWait, m.workAt = 0, 0 }

// workFailed has the work lane wait before it tries again.
func (m *Machine) workFailed(what string, err error) {
	m.workWait = min(max(workRetry, 2*m.workWait), workRetryMax)
	m.workAt = m.t + m.workWait
	m.report(Alarm, what, "%s failed (tried again in %v): %s", what, m.workWait, errText(err))
}

// planPull brings the newest backup into the cache. It reports false while
// there is nothing to do.
func (m *Machine) planPull() bool {
	h := m.knownHead()
	if h == nil || h.Newest == nil || same(h.Newest, m.pulled) || !m.due(m.workAt) {
		return false
	}
	ref := *h.Newest
	m.begin("pull", func(d Done) {
		if d.Outcome != OK {
			m.pullErr = errText(d.Err)
			if !m.yielding {
				m.workFailed("pull", d.Err)
			}
			return
		}
		m.workOK()
		m.pulled, m.pullErr = &ref, ""
		m.report(Info, "pull", "backup %s is cached", ref.ID)
	})
	m.emit(Pull{ID: m.work, Ref: ref})
	return true
}
