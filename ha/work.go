package ha

// The work lane is whatever takes long but pulls: backups, rehearsals, restores.
// One thing is done at a time.
func (m *Machine) planWork() {
	if m.work != 0 || m.pull != 0 || m.leaving {
		return
	}
	p, d := m.j.Promotion, m.j.Demotion
	switch {
	case m.discardDue():
		m.planDiscard()
	case m.mayReload():
		m.changeSources()
	case p != nil && p.Phase != PhaseFinish && !m.frozen():
		m.planRestore(p)
	case d != nil && d.Acked && d.Known && !d.Made && m.planSalvage(d):
	case m.j.Role == RoleActive && m.refused != "":
	case m.j.Role == RoleActive:
		if hj := m.j.Handover; hj != nil && hj.Phase == HandoverStopping && m.app == appStopped && m.publish == nil {
			m.finalBackup()
			return
		}
		m.planBackup()
	case m.refused == "" && !m.missesBackup():
		m.planRehearsal()
	}
}

// begin starts a piece of work.
func (m *Machine) begin(label string, then func(Done)) {
	m.workLabel, m.yielding = label, false
	m.work = m.expect(then)
}

// yield has what takes long, and is under way, end soon.
func (m *Machine) yield() {
	if m.work != 0 {
		m.yielding = true
		m.emit(Cancel{ID: m.work})
	}
	if m.pull != 0 {
		m.pullYielding = true
		m.emit(Cancel{ID: m.pull})
	}
}

func (m *Machine) workOK() { m.workWait, m.workAt = 0, 0 }

// workFailed has the work lane wait before it tries again.
func (m *Machine) workFailed(what string, err error) {
	m.workWait = min(max(workRetry, 2*m.workWait), workRetryMax)
	m.workAt = m.t + m.workWait
	m.report(Alarm, what, "%s failed (tried again in %v): %s", what, m.workWait, errText(err))
}

// planPull brings the newest backup into the cache: beside a rehearsal, which
// may take longer than backups are apart, and otherwise while nothing else takes
// long.
func (m *Machine) planPull() {
	if m.pull != 0 || m.leaving || m.work != 0 && m.workLabel != workRehearsal || !m.follows() || !m.missesBackup() {
		return
	}
	ref := *m.knownHead().Newest
	m.pullYielding = false
	m.pull = m.expect(func(d Done) {
		if d.Outcome != OK {
			m.pullErr = errText(d.Err)
			if !m.pullYielding {
				m.workFailed("pull", d.Err)
			}
			return
		}
		m.workOK()
		m.pulled, m.pullErr = &ref, ""
		m.report(Info, "pull", "backup %s is cached", ref.ID)
	})
	m.emit(Pull{ID: m.pull, Ref: ref})
}

// follows reports whether this instance is a standby with nothing to settle.
func (m *Machine) follows() bool {
	p := m.j.Promotion
	return m.j.Role == RoleStandby && !m.mayReload() && (p == nil || p.Phase == PhaseFinish)
}

// missesBackup reports whether the newest backup is to be pulled now.
func (m *Machine) missesBackup() bool {
	h := m.knownHead()
	return h != nil && h.Newest != nil && !same(h.Newest, m.pulled) && m.due(m.workAt)
}

// working names what takes long and is under way.
func (m *Machine) working() string {
	switch {
	case m.pull == 0:
		return m.workLabel
	case m.work == 0:
		return "pull"
	}
	return m.workLabel + ", pull"
}
