package ha

// The work lane is whatever takes long but pulls: backups, rehearsals, restores.
// One thing is done at a time.
func (m *Machine) planWork() {
	if m.busy() || m.pulls() || m.leaving {
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
		if hj := m.j.Handover; hj != nil && hj.Phase == HandoverStopping && m.isApp(appStopped) && m.unpublished() == nil {
			m.finalBackup()
			return
		}
		m.planBackup()
	case m.refused == "" && !m.missesBackup():
		m.planRehearsal()
	}
}

// begin starts a piece of work.
func (m *Machine) begin(label string, then func(Done)) uint64 {
	m.workLabel, m.yielding = label, false
	m.work = m.expect(then)
	return m.work
}

// busy reports whether something is under way.
func (m *Machine) busy() bool { return m.work != 0 }

// does reports whether this is what is under way.
func (m *Machine) does(label string) bool { return m.workLabel == label }

// workEnded notes the end of a piece of work.
func (m *Machine) workEnded(id uint64) {
	if id == m.work {
		m.work, m.workLabel = 0, ""
	}
}

// cancelWork has what is under way end soon.
func (m *Machine) cancelWork() {
	if m.work != 0 {
		m.emit(Cancel{ID: m.work})
	}
}

// workDue reports whether what has failed last may be tried again.
func (m *Machine) workDue() bool { return m.due(m.workAt) }

// yield has whatever takes long make way: it ends soon.
func (m *Machine) yield() {
	if m.work != 0 {
		m.yielding = true
		m.emit(Cancel{ID: m.work})
	}
	m.yieldPull()
}

// workOK forgets what has failed.
func (m *Machine) workOK() { m.workWait, m.workAt = 0, 0 }

// workNow has what has failed tried again at once.
func (m *Machine) workNow() { m.workAt = 0 }

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
	if m.pull != 0 || m.leaving || m.busy() && !m.does(workRehearsal) || !m.follows() || !m.missesBackup() {
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

// pulls reports whether a pull is under way.
func (m *Machine) pulls() bool { return m.pull != 0 }

// pullEnded notes the end of a pull.
func (m *Machine) pullEnded(id uint64) {
	if id == m.pull {
		m.pull = 0
	}
}

// yieldPull has a pull make way.
func (m *Machine) yieldPull() {
	if m.pull != 0 {
		m.pullYielding = true
		m.emit(Cancel{ID: m.pull})
	}
}

// follows reports whether this instance is a standby with nothing to settle.
func (m *Machine) follows() bool {
	p := m.j.Promotion
	return m.j.Role == RoleStandby && !m.mayReload() && (p == nil || p.Phase == PhaseFinish)
}

// missesBackup reports whether the newest backup is to be pulled now.
func (m *Machine) missesBackup() bool {
	h := m.knownHead()
	return h != nil && h.Newest != nil && !same(h.Newest, m.pulled) && m.workDue()
}

// working names what takes long and is under way.
func (m *Machine) working() string {
	switch {
	case !m.pulls():
		return m.workLabel
	case m.work == 0:
		return "pull"
	}
	return m.workLabel + ", pull"
}
