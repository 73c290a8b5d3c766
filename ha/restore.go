package ha

// planRestore does the promotion's long work: staging, swapping, undoing.
func (m *Machine) planRestore(p *Promotion) {
	switch p.Phase {
	case PhaseRestore:
		ref := *p.Backup
		id := m.begin("restore", func(d Done) { m.restored(ref.ID, d) })
		m.stages()
		m.emit(Stage{ID: id, Ref: ref, AllowFailed: p.AllowFailed})
	case PhaseSwap:
		if !m.isApp(appStopped) {
			return
		}
		p.Swapped = true // from here on a rollback swaps back
		m.save(stepSeen)
		m.emit(Swap{ID: m.begin("swap", m.swapped)})
	case PhaseRollback:
		if p.Undone || !m.workDue() || m.maybeSwapped() && (!m.isApp(appStopped) || !m.maySwapBack()) {
			return
		}
		if m.replacedLeft { // by an earlier promotion: this one has staged nothing
			p.Undone = true
			m.save(stepPromotionUndone)
			return
		}
		id := m.begin(workRollback, func(d Done) {
			if d.Outcome != OK {
				m.workFailed("rollback", d.Err)
				m.rollbackErr = errText(d.Err)
				if m.j.Promotion.Swapped {
					m.doubtApp() // it may be what is in the way
				}
				return
			}
			m.workOK()
			m.rollbackErr = ""
			p := m.j.Promotion
			p.Undone = true
			m.save(stepPromotionUndone)
		})
		m.emit(Rollback{ID: id})
	}
}

// workRollback is the work that undoes what a promotion has done.
const workRollback = "rollback"

// maybeSwapped reports whether a promotion's state may be in place: by the journal, or
// because a swap was there when the process started, which a journal that was put back
// knows nothing of.
func (m *Machine) maybeSwapped() bool {
	p := m.j.Promotion
	return p != nil && p.Swapped || m.p.Swapped
}

// maySwapBack reports whether it is known that what was swapped in was not
// committed, as it was where the data folder was put back since.
func (m *Machine) maySwapBack() bool { return m.knownHead() != nil && m.j.Missed == 0 }

func (m *Machine) restored(id string, d Done) {
	p := m.j.Promotion
	if p == nil || p.Phase != PhaseRestore {
		return
	}
	if d.Outcome != OK {
		m.abort("restoring backup %s failed: %s", id, errText(d.Err))
		return
	}
	// A failover for the newest backup follows one that appeared meanwhile.
	if h := m.knownHead(); p.Mode == ModeFailover && p.Chosen == nil && h.Epoch == p.Epoch && h.Newest.Digest != p.Newest.Digest {
		m.report(Warn, "promotion", "a newer backup appeared: restoring %s", h.Newest.ID)
		m.restoreFrom(h.Newest)
		return
	}
	p.Phase = PhaseSwap
	m.doubtApp() // somebody may have started it on this standby
	if d.Note != "" {
		id += ": " + d.Note
	}
	m.step("restore", id)
	m.save(p.Phase.step())
}

func (m *Machine) swapped(d Done) {
	p := m.j.Promotion
	if p == nil || p.Phase != PhaseSwap {
		return
	}
	if d.Outcome != OK {
		m.abort("swapping the restored state into place failed: %s", errText(d.Err))
		return
	}
	p.Phase = PhaseCommit
	m.commitAfresh()
	m.step("swap", d.Note)
	m.save(p.Phase.step())
}

// swapCommitted notes that what a swap replaced is to be set aside.
func (m *Machine) swapCommitted() { m.replacedLeft = true }

// discardDue reports whether what a committed swap replaced is to be set aside
// now. Nothing waits for that but the next stage, and it waits for the
// application.
func (m *Machine) discardDue() bool {
	p := m.j.Promotion
	switch {
	case !m.replacedLeft:
		return false
	case p != nil && p.Phase == PhaseRestore:
		return true
	case p == nil, p.Phase == PhaseFinish && (m.isApp(appRunning) || m.appErr != ""):
		return m.due(m.discardAt)
	}
	return false
}

// workError says what a promotion has left behind that is tried again.
func (m *Machine) workError() string {
	switch {
	case m.rollbackErr != "":
		return "what a promotion did cannot be put back, which is tried again: " + m.rollbackErr
	case m.discardErr != "":
		return "what the last promotion replaced cannot be set aside, which is tried again: " + m.discardErr
	}
	return ""
}

// planDiscard sets aside what a swap replaced, once the commit is known.
func (m *Machine) planDiscard() {
	id := m.begin("discard", func(d Done) {
		if d.Outcome != OK {
			m.discardWait = min(max(workRetry, 2*m.discardWait), workRetryMax)
			m.discardAt, m.discardErr = m.t+m.discardWait, errText(d.Err)
			m.report(Alarm, "discard", "what the last promotion replaced could not be set aside (tried again in %v): %s", m.discardWait, errText(d.Err))
			if p := m.j.Promotion; p != nil && p.Phase == PhaseRestore {
				m.abort("what the last promotion replaced could not be set aside: %s", errText(d.Err))
			}
			return
		}
		m.replacedLeft, m.discardAt, m.discardWait, m.discardErr = false, 0, 0, ""
	})
	m.emit(Discard{ID: id})
}
