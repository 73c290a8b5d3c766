package ha

// planRestore does the promotion's long work: staging, swapping, undoing.
func (m *Machine) planRestore(p *Promotion) {
	switch p.Phase {
	case PhaseRestore:
		ref := *p.Backup
		m.begin("restore", func(d Done) { m.restored(ref.ID, d) })
		m.staged = true
		m.emit(Stage{ID: m.work, Ref: ref, AllowFailed: p.AllowFailed})
	case PhaseSwap:
		if m.app != appStopped {
			return
		}
		m.begin("swap", m.swapped)
		m.emit(Swap{ID: m.work})
	case PhaseRollback:
		if p.Undone || !m.due(m.workAt) {
			return
		}
		m.begin("rollback", func(d Done) {
			if d.Outcome != OK {
				m.workFailed("rollback", d.Err)
				return
			}
			m.workOK()
			p := m.j.Promotion
			p.Undone = true
			m.save()
		})
		m.emit(Rollback{ID: m.work})
	}
}

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
	if d.Note != "" {
		id += ": " + d.Note
	}
	m.step("restore", id)
	m.save()
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
	p.Phase, m.commitStep = PhaseCommit, 0
	m.step("swap", "")
	m.save()
}

// planDiscard drops what the swap replaced, once the commit is known. That may
// take long, so nothing waits for it.
func (m *Machine) planDiscard() {
	if !m.due(m.workAt) {
		return
	}
	m.begin("discard", func(d Done) {
		if d.Outcome != OK {
			m.workFailed("discard", d.Err)
			return
		}
		m.workOK()
		if p := m.j.Promotion; p != nil {
			p.Discarded = true
			m.step("discard", "")
		}
		if d := m.j.Demotion; d != nil {
			d.Discard = false
		}
		m.save()
	})
	m.emit(Discard{ID: m.work})
}
